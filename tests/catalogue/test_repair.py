from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.catalogue.repair import (
    Rejects,
    clean_products,
    label_encoder,
    parse_category,
    parse_price,
    repair_text,
)
from marketplace.common.errors import MarketplaceError
from marketplace.raw.tables import read_table

HEADER = ",id,product_name,category,product_description,price,location\n"


def products(*rows: str) -> pd.DataFrame:
    return read_table((HEADER + "".join(row + "\n" for row in rows)).encode(), "products.csv")


def test_a_bare_carriage_return_ends_no_row() -> None:
    table = products(
        "0,a,Hat,Tops / Hat,Warm.\rCollection only,£1.00,Leeds", '1,b,Cap,Tops / Cap,"Two\nlines, quoted",£2.00,Hull'
    )
    assert table["id"].tolist() == ["a", "b"]
    assert table["product_description"].tolist() == ["Warm.\rCollection only", "Two\nlines, quoted"]


def test_words_that_look_like_missing_values_stay_words() -> None:
    assert products("0,a,NA,null / None,nan,£1.00,N/A").iloc[0].tolist()[1:] == [
        "a",
        "NA",
        "null / None",
        "nan",
        "£1.00",
        "N/A",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (HEADER.encode(), "no row"),
        (b"id,price\na,1\n", "lacks the column 'product_name'; it has: id, price"),
        (HEADER.encode() + b"0,a,\xff\xfe,c,d,e,f\n", "is not UTF-8: byte 65 is 0xff"),
        (HEADER.encode() + b"0,a,b,c,d,e,f,g,h,i\n", "not well-formed"),
        (HEADER.encode() + b'0,a,"b,c,d,e,f\n', "not well-formed"),
    ],
)
def test_a_broken_table_is_refused_by_name(content: bytes, said: str) -> None:
    with pytest.raises(MarketplaceError, match=said) as caught:
        read_table(content, "products.csv")
    assert "products.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "root", "path"),
    [
        ("Tops / T-Shirt", "Tops", "Tops / T-Shirt"),
        ("Tops/ T-Shirt", "Tops", "Tops / T-Shirt"),
        ("Tops /T-Shirt", "Tops", "Tops / T-Shirt"),
        ("Hats, Coats & Jackets, / Outwear", "Hats, Coats & Jackets", "Hats, Coats & Jackets / Outwear"),
        ("Clothes, Footwear & Accessories", "Clothes, Footwear & Accessories", "Clothes, Footwear & Accessories"),
        ("TV/DVD / Players", "TV/DVD", "TV/DVD / Players"),
        ("  Juice  /  Juice / Bravo ", "Juice", "Juice / Juice / Bravo"),
        ("Juice / ", "Juice", "Juice"),
        ("", "", ""),
        (" / ", "", ""),
    ],
)
def test_the_root_is_what_stands_before_the_first_slash(text: str, root: str, path: str) -> None:
    assert parse_category(repair_text(text)) == (root, path)


@pytest.mark.parametrize(
    ("text", "pounds"),
    [
        ("£1,234.56", "1234.56"),
        ("Â£6.71", "6.71"),
        ("£2.13,", "2.13"),
        ("£0.00", "0.00"),
        ("12", "12.00"),
        ("£10,000,000.00", "10000000.00"),
        ("£ 7.5", "7.50"),
        ("", None),
        ("free", None),
        ("£12,34", None),
        ("-£3.00", None),
        ("£1.234", None),
        ("£1,23,456.00", None),
    ],
)
def test_a_price_is_pounds_to_the_penny_or_nothing(text: str, pounds: str | None) -> None:
    assert parse_price(repair_text(text)) == (None if pounds is None else Decimal(pounds))


@given(pence=st.integers(0, 10**10), mojibake=st.booleans(), comma=st.booleans())
def test_every_price_survives_its_dirt(pence: int, mojibake: bool, comma: bool) -> None:
    text = f"£{pence / 100:,.2f}" + "," * comma
    dirty = text.encode().decode("latin-1") if mojibake else text
    assert parse_price(repair_text(dirty)) == Decimal(pence) / 100


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("CafÃ© chair", "Café chair"),
        ("Arlagårdar", "Arlagårdar"),
        ("Childrenâ€™s coat", "Children’s coat"),
        ("✨ 👗T-Shirt", "✨ 👗T-Shirt"),
        ("Two \r\n  lines ", "Two lines"),
        ("Â£5 &amp; more", "£5 &amp; more"),
    ],
)
def test_only_the_encoding_of_a_text_is_repaired(text: str, repaired: str) -> None:
    assert repair_text(text) == repaired


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs", "Zs", "Cc"])))
def test_mending_twice_changes_nothing_more(text: str) -> None:
    assert repair_text(repair_text(text)) == repair_text(text)


def test_each_product_is_kept_once_and_the_rest_is_accounted_for() -> None:
    rejects = Rejects()
    table = products(
        "0,a,Hat,Tops / Hat,x,£1.00,Leeds",
        "1,a,Hat,Tops / Hat,x,£1.00,Leeds",
        "2,a,Other,Tops / Hat,x,£9.00,Leeds",
        "3,b,Cap,,x,£1.00,Leeds",
        "4,,Cap,Tops / Cap,x,£1.00,Leeds",
        "5,c,Cap,Tops / Cap",
    )
    kept = clean_products(table, rejects)
    assert kept["id"].tolist() == ["a", "c"]
    assert kept["product_name"].tolist() == ["Hat", "Cap"]
    assert kept["price"].tolist() == [Decimal("1.00"), None]
    assert rejects.table().to_numpy().tolist() == [
        ["products", "a", "repeated_id_with_other_content"],
        ["products", "a", "repeated_row"],
        ["products", "b", "without_category"],
        ["products", "row 4", "without_id"],
    ]


def test_labels_decode_to_the_names_that_they_encode() -> None:
    encoder = label_encoder(pd.Series(["Tops", "Juice", "Clothes, Footwear", "Tops"]))
    assert encoder["decode"] == ["Clothes, Footwear", "Juice", "Tops"]
    assert all(encoder["decode"][label] == name for name, label in encoder["encode"].items())  # type: ignore[union-attr]
    with pytest.raises(MarketplaceError, match=r"1 root category \(Tops\)"):
        label_encoder(pd.Series(["Tops", "Tops"]))
