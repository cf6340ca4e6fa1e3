"""Prices: the right amount and currency, or nothing."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.catalogue.prices import CURRENCY_SIGNS, MAX_WHOLE_DIGITS, fill_in_signs, parse_price
from marketplace.catalogue.seller_texts import repair_text


@pytest.mark.parametrize(
    ("text", "amount", "sign"),
    [
        ("£1,234.56", "1234.56", "£"),
        ("Â£6.71", "6.71", "£"),
        ("£2.13,", "2.13", "£"),
        ("£0.00", "0.00", "£"),
        ("12", "12.00", ""),
        ("£10,000,000.00", "10000000.00", "£"),
        ("£ 7.5", "7.50", "£"),
        ("£50 ono", "50.00", "£"),
        ("5,50 €", "5.50", "€"),
        ("€1.234,50", "1234.50", "€"),
        ("1 234,50 EUR", "1234.50", "€"),
        ("1.234.567 €", "1234567.00", "€"),
        ("CHF 1’234.50", "1234.50", "CHF"),
        ("US$5", "5.00", "$"),
        ("$5 USD", "5.00", "$"),
        ("5.50usd", "5.50", "$"),
        ("₹1,23,456.00", "123456.00", "₹"),
        ("£1" + "0" * 30, "1" + "0" * 30, "£"),
        ("R$ 1.234,56", "1234.56", "R$"),
        ("R$ 12,50", "12.50", "R$"),
        ("$ 1.234,56", "1234.56", "$"),
        ("COP $ 1.200.000", "1200000.00", "CO$"),
        ("1,500円", "1500.00", "¥"),
        ("１，５００円", "1500.00", "¥"),
        ("15,000원", "15000.00", "₩"),
        ("100 元", "100.00", "CN¥"),
        ("NT$1,000", "1000.00", "NT$"),
        ("RM 12.50", "12.50", "RM"),
        ("Rp 1.500", "1500.00", "Rp"),
        ("1.500.000đ", "1500000.00", "₫"),
        ("₱1,234.50", "1234.50", "₱"),
        ("S/. 12.50", "12.50", "S/."),
        ("R 1 234,56", "1234.56", "R"),
        ("1 234 руб.", "1234.00", "₽"),
        ("12,50 лв.", "12.50", "лв"),
        ("12 د.إ", "12.00", "AED"),
        ("١٢٣٫٥٠ €", "123.50", "€"),
        ("1.299,- €", "1299.00", "€"),
        ("5.– Fr.", "5.00", "CHF"),
        ("kr 1.234,-", "1234.00", "kr"),
        ("150:-", "150.00", ""),
        ("Rs. 500/- only", "500.00", "₹"),
        ("KSh 500/=", "500.00", "Ksh"),
        ("12€50", "12.50", "€"),
        ("50 € VB", "50.00", "€"),
        ("US $12.00", "12.00", "$"),
        ("U.S. $12", "12.00", "$"),
        ("C $25.00", "25.00", "C$"),
        ("USD $5", "5.00", "$"),
        ("$5 CAD", "5.00", "C$"),
    ],
)
def test_a_price_is_an_amount_and_a_currency(text: str, amount: str, sign: str) -> None:
    assert parse_price(repair_text(text)) == (Decimal(amount), sign)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "free",
        "ono",
        "£",
        "£12,34",
        "-£3.00",
        "£1.234",
        "£1,23,456.00",
        "1.234 €",
        "5-10",
        "2 for £5",
        "£5 $",
        "50p",
        "£5 or £6",
        "5 apples",
        "1,2345",
        "£1" + "0" * 50,
        "９９９９x",
        "£\u202e5x",
        "£.50",
        "RM 12,50",
        "12,34 $",
        "KWD 12.500",
        "50 all",
        "5 pen",
        "5 EUR/kg",
        "from £5",
        "1.5m",
        "1万円",
        "(£5)",
    ],
)
def test_a_text_that_is_not_one_price_is_none(text: str) -> None:
    assert parse_price(repair_text(text)) is None


@given(pence=st.integers(0, 10 ** (MAX_WHOLE_DIGITS + 2) - 1), mojibake=st.booleans(), comma=st.booleans())
def test_every_price_survives_its_dirt(pence: int, mojibake: bool, comma: bool) -> None:
    text = f"£{pence // 100:,}.{pence % 100:02}" + "," * comma
    dirty = text.encode().decode("latin-1") if mojibake else text
    assert parse_price(repair_text(dirty)) == (Decimal(f"{pence // 100}.{pence % 100:02}"), "£")


@given(cents=st.integers(0, 10**12), code=st.sampled_from(sorted(CURRENCY_SIGNS)), after=st.booleans())
def test_codes_and_signs_mean_the_same(cents: int, code: str, after: bool) -> None:
    amount = f"{Decimal(cents) / 100:,.2f}"
    for name in (code, CURRENCY_SIGNS[code]):
        text = f"{amount} {name}" if after else f"{name} {amount}"
        assert parse_price(text) == (Decimal(cents) / 100, CURRENCY_SIGNS[code])


@given(st.text(max_size=30))
def test_no_text_raises_an_error(text: str) -> None:
    price = parse_price(text)
    assert price is None or price.amount >= 0


def test_a_price_without_a_sign_has_the_commonest_currency() -> None:
    assert fill_in_signs(["$", "", "$", "€"]) == ["$", "$", "$", "€"]
    assert fill_in_signs(["", ""]) == ["£", "£"]
