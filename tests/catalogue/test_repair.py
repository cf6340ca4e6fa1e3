from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.catalogue.repair import clean_products, display_name, label_encoder, leave_out_uncategorized
from marketplace.catalogue.seller_texts import repair_text
from marketplace.common.errors import MarketplaceError
from marketplace.raw.rejects import Rejects
from marketplace.raw.tables import read_table

HEADER = ",id,product_name,category,product_description,price,location\n"


def products(*rows: str) -> pd.DataFrame:
    return read_table((HEADER + "".join(row + "\n" for row in rows)).encode(), "products.csv").rows


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("CafÃ© chair", "Café chair"),
        ("Arlagårdar", "Arlagårdar"),
        ("Childrenâ€™s coat", "Children’s coat"),
        ("✨ 👗T-Shirt", "✨ 👗T-Shirt"),
        ("Two \r\n  lines ", "Two lines"),
        ("Red\x1b[31m lamp\x07 \x00 x", "Red[31m lamp x"),
        ("\u202eevil\u202c 👨\u200d👩\u200d👧", "evil 👨\u200d👩\u200d👧"),
        ("Â£5 &amp; more", "£5 & more"),
        ("Cafe\u0301 &Acirc;&pound;5", "Café £5"),
        ("bad\x02 \ufffe\ufdd0 letters&#2;", "bad letters"),
        ("ＮＩＫＥ 𝓿𝓲𝓷𝓽𝓪𝓰𝓮", "ＮＩＫＥ 𝓿𝓲𝓷𝓽𝓪𝓰𝓮"),
    ],
)
def test_a_text_is_shown_as_its_seller_meant_it(text: str, repaired: str) -> None:
    assert repair_text(text) == repaired


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs", "Zs", "Cc"])))
def test_repairing_twice_changes_nothing_more(text: str) -> None:
    assert repair_text(repair_text(text)) == repair_text(text)


def test_each_product_is_kept_once_and_every_other_row_has_a_reason() -> None:
    rejects = Rejects()
    table = products(
        "0,a,Hat,Tops / Hat,x,£1.00,Leeds",
        "1,a,Hat,Tops / Hat,x,£1.00,Leeds",
        "2,a,Other,Tops / Hat,x,£9.00,Leeds",
        "3,b,Cap,,x,£1.00,Leeds",
        "4,,Cap,Tops / Cap,x,£1.00,Leeds",
        "5,c,Cap,Tops / Cap,,,",
    )
    kept = leave_out_uncategorized(clean_products(table, rejects), rejects)
    assert kept["id"].tolist() == ["a", "c"]
    assert kept["product_name"].tolist() == ["Hat", "Cap"]
    assert kept["price"].tolist() == [Decimal("1.00"), None]
    assert rejects.table().to_numpy().tolist() == [
        ["products", "a", "repeated_id_with_other_content"],
        ["products", "a", "repeated_row"],
        ["products", "b", "without_category"],
        ["products", "row 6", "without_id"],
    ]


def test_every_text_of_a_seller_takes_the_same_path() -> None:
    dirty = "&lt;b&gt;CafÃ© &amp; Co&lt;/b&gt;\x02<style>p {margin: 0}</style>"
    (row,) = clean_products(products(f"0,a,{dirty},{dirty},{dirty},£1.00,{dirty}"), Rejects()).to_dict("records")
    for column in ("product_name", "product_description", "category", "category_path", "location"):
        assert row[column] == "Café & Co", column


def test_labels_decode_to_the_names_that_they_encode() -> None:
    encoder = label_encoder(pd.Series(["Tops", "Juice", "Clothes, Footwear", "Tops"]))
    assert encoder["decode"] == ["Clothes, Footwear", "Juice", "Tops"]
    assert all(encoder["decode"][label] == name for name, label in encoder["encode"].items())  # type: ignore[union-attr]
    with pytest.raises(MarketplaceError, match="root categories left after cleaning: Tops"):
        label_encoder(pd.Series(["Tops", "Tops"]))


def test_names_lose_the_suffix_that_marketplaces_append() -> None:
    assert display_name("Boots | in Leeds | Listings") == "Boots"
    assert display_name("Plain boots") == "Plain boots"
    assert display_name(" | in Leeds") == " | in Leeds"
