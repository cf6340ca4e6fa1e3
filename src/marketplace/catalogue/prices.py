"""Prices as sellers of all countries write them: the amount and the currency, or nothing if either is in doubt.

price-parser knows the currencies. It is not asked for amounts, since it answers for any text with a digit: 1234 for
"£1.234", which may be less than two, and 5 for "5-10".
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from price_parser._currencies import CURRENCIES, REPLACED_BY_EURO

from marketplace.texts.comparison import comparable

CURRENCY_SIGNS = {
    "AUD": "A$",
    "CAD": "C$",
    "CHF": "CHF",
    "CNY": "CN¥",
    "CZK": "Kč",
    "DKK": "DKK",
    "EUR": "€",
    "GBP": "£",
    "HUF": "Ft",
    "INR": "₹",
    "JPY": "¥",
    "NOK": "NOK",
    "NZD": "NZ$",
    "PLN": "zł",
    "RUB": "₽",
    "SEK": "SEK",
    "TRY": "₺",
    "UAH": "₴",
    "USD": "$",
}  # of other currencies, price-parser's
DEFAULT_SIGN = "£"  # if a dump names no currency
MAX_WHOLE_DIGITS = 36  # before the point; training_data has room for no more

_SPELLINGS = {code.casefold(): sign for code, sign in CURRENCY_SIGNS.items()}
_SPELLINGS |= {sign.casefold(): sign for sign in CURRENCY_SIGNS.values()}
_SPELLINGS |= {"us$": "$", "au$": "A$", "ca$": "C$", "euro": "€", "euros": "€", "eur": "€", "kč": "Kč", "fr": "CHF"}
_SPELLINGS |= {"pounds": "£", "kr": "kr", "rs": "₹", "sfr": "CHF", "zl": "zł", "tl": "₺", "р": "₽", "руб": "₽"}
_SPELLINGS |= {"rm": "RM", "rp": "Rp", "php": "₱", "元": "CN¥", "원": "₩", "грн": "₴", "baht": "฿", "лв": "лв"}
_SPELLINGS |= {"s/": "S/.", "ksh": "Ksh", "tsh": "TSh", "ush": "USh"}
_NO_CURRENCIES = {*REPLACED_BY_EURO, "ALL", "TOP", "XXX", "XTS"}  # sellers write two of them as words
_POINT_FORMATS = (  # 1,234.50, in any currency
    re.compile(r"\d+(?:\.\d{1,2})?"),
    re.compile(r"\d{1,3}(?:[,' ]\d{3})+(?:\.\d{1,2})?"),
)
_COMMA_FORMATS = (  # 1.234,50, in any currency
    re.compile(r"\d{1,3}(?:[.' ]\d{3})+,\d{2}"),
    re.compile(r"\d{1,3}(?:\.\d{3}){2,}"),
)
_DECIMAL_COMMA = re.compile(r"\d+,\d{1,2}")  # not in pounds or dollars: "£12,34" is a slip
_ONE_GROUP = re.compile(r"\d{1,3}\.\d{3}")  # more than a thousand only where there are no cents
_LAKH_FORMAT = re.compile(r"\d{1,2}(?:,\d{2})*,\d{3}(?:\.\d{1,2})?")
_LAKH_SIGNS = {"₹", "৳", "Tk", "PKRs", "NPRs"}
_COMMA_DOLLARS = {"R$", "AR$", "CL$", "CO$", "$U"}
_POINT_SIGNS = {"RM", "₱", "฿", "₦", "Ksh"}
_NEGOTIABLE = re.compile(
    r"[\s(,/]*\b(?:o\.?n\.?o|o\.?b\.?o|vh?b|fp|festpreis|neg(?:o|otiable)?|only)\.?\)?$|^vh?b:?\s", re.IGNORECASE
)
_EURO_AND_CENTS = re.compile(r"(\d+) ?€ ?(\d\d)")  # as the French write them
_PARTS = re.compile(
    r"(?P<before>\D*?)\s*(?P<amount>\d(?:[\d.,' ]*\d)?)(?P<no_cents>\s?[.,:]?\s?--?|/[-=])?\s*(?P<after>\D*)"
)
_TWO_SPELLINGS = re.compile(r"(\w+)(\W)|(\W)(\w+)")  # USD$ or £GBP
_OTHER_SIGNS = str.maketrans({"’": "'", "–": "-", "—": "-", "−": "-", "٫": ".", "٬": ","})


class Price(NamedTuple):
    """A price."""

    amount: Decimal  # to the hundredth
    sign: str  # of the currency; empty if the price names none


def parse_price(text: str) -> Price | None:
    """Return the price in a text, or None if the text is not one price.

    >>> parse_price("£1,234.50,")
    Price(amount=Decimal('1234.50'), sign='£')
    >>> parse_price("22,90 €")
    Price(amount=Decimal('22.90'), sign='€')
    >>> parse_price("100 USD ono")
    Price(amount=Decimal('100.00'), sign='$')
    >>> parse_price("5 or 6")
    """
    text = comparable(text).translate(_OTHER_SIGNS).strip(" ,").rstrip(" ,.")
    text = _EURO_AND_CENTS.sub(r"\1,\2 €", _NEGOTIABLE.sub("", text))
    match = _PARTS.fullmatch(text)
    if match is None or _lacks_whole_part(match["before"]):
        return None
    sign = _parse_signs(match["before"], match["after"])
    if sign is None:
        return None
    amount = _parse_amount(match["amount"], sign, has_no_cents=match["no_cents"] is not None)
    return None if amount is None else Price(amount=amount, sign=sign)


def _lacks_whole_part(before: str) -> bool:
    """Return whether an amount begins with its point, as in "£.50" and unlike "Rs.50"."""
    return before.endswith((".", ",")) and (len(before) == 1 or unicodedata.category(before[-2]) in ("Sc", "Zs"))


def fill_in_signs(signs: Sequence[str]) -> list[str]:
    """Return the currency of every price: a price without a sign has the dump's commonest currency."""
    counts = Counter(sign for sign in signs if sign)
    commonest_sign = counts.most_common(1)[0][0] if counts else DEFAULT_SIGN
    return [sign or commonest_sign for sign in signs]


def _parse_amount(text: str, sign: str, *, has_no_cents: bool) -> Decimal | None:
    """Return the amount, or None if it can be read in two ways: 1.234 may be more than a thousand, or less than two."""
    whole_only = has_no_cents or sign in _SIGNS_WITHOUT_CENTS
    if any(pattern.fullmatch(text) for pattern in _POINT_FORMATS) or (
        sign in _LAKH_SIGNS and _LAKH_FORMAT.fullmatch(text)
    ):
        whole, _, hundredths = text.partition(".")
    elif any(pattern.fullmatch(text) for pattern in _COMMA_FORMATS) or (
        _has_decimal_comma(sign) and _DECIMAL_COMMA.fullmatch(text)
    ):
        whole, _, hundredths = text.partition(",")
    elif whole_only and _ONE_GROUP.fullmatch(text):
        whole = text
        hundredths = ""
    else:
        return None
    digits = "".join(letter for letter in whole if letter.isdigit())
    return Decimal(f"{digits}.{hundredths:0<2}") if len(digits) <= MAX_WHOLE_DIGITS else None


def _has_decimal_comma(sign: str) -> bool:
    """Return whether "12,34" is an amount in a currency."""
    return sign in _COMMA_DOLLARS or not (sign.endswith(("£", "$")) or sign in _POINT_SIGNS)


def _parse_signs(before: str, after: str) -> str | None:
    """Return the sign of the currency that stands before or behind an amount, empty for none; None if it is in doubt.

    A sign that several currencies share may stand with the code of one of them: "$5 CAD".
    """
    signs = [_parse_sign(text) for text in (before, after) if text.strip()]
    if not signs:
        return ""
    known = sorted({sign for sign in signs if sign is not None}, key=len)
    if None in signs or not known[-1].endswith(known[0]):
        return None
    return known[-1]


def _parse_sign(text: str) -> str | None:
    """Return the sign of a currency, or None for a text that is no currency."""
    spelling = _tidy(text)
    sign = _SPELLINGS.get(spelling.casefold()) or _LIBRARY_SPELLINGS.get(spelling)
    if sign is None and len(spelling) == 1 and unicodedata.category(spelling) == "Sc":
        return spelling
    match = _TWO_SPELLINGS.fullmatch(spelling)
    if sign is None and match is not None:
        letters, symbol = (match[1], match[2]) if match[1] else (match[4], match[3])
        return _parse_signs(symbol, letters)
    return sign


def _tidy(spelling: str) -> str:
    """Return the name of a currency without points and spaces: "U.S. $", "S/."."""
    return comparable(spelling).replace(".", "").replace(" ", "")


def _collect_library_spellings() -> dict[str, str]:
    """Return the sign for each spelling that price-parser knows; a spelling that two currencies share is a sign."""
    signs_of = defaultdict(set)
    for code, currency in CURRENCIES.items():
        sign = CURRENCY_SIGNS.get(code, currency["s"])
        if code in _NO_CURRENCIES or not _tidy(sign).strip("-"):
            continue
        for spelling in (code, currency["s"], currency["sn"], *(currency.get("sn2") or ())):
            signs_of[_tidy(spelling)].add(sign)
    is_letter = re.compile("[A-QS-Z]")  # "R" is the rand; other letters alone are in doubt
    return {
        spelling: signs.pop() if len(signs) == 1 else spelling
        for spelling, signs in signs_of.items()
        if spelling and not is_letter.fullmatch(spelling)
    }


_LIBRARY_SPELLINGS = _collect_library_spellings()
_SIGNS_WITHOUT_CENTS = {
    CURRENCY_SIGNS.get(code, currency["s"]) for code, currency in CURRENCIES.items() if currency["d"] == 0
} - {CURRENCY_SIGNS.get(code, currency["s"]) for code, currency in CURRENCIES.items() if currency["d"]}
