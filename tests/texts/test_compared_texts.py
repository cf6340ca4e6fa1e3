"""Comparison: the same words in other letters are the same text."""

import pandas as pd
import pytest

from marketplace.recommendation.filters import FilteredTable, Filters
from marketplace.recommendation.products import Product
from marketplace.serving.explanation import common_words
from marketplace.texts.comparison import comparable


@pytest.mark.parametrize(
    "text",
    [
        "ＮＩＫＥ ｓｈｏｅｓ",
        "𝐍𝐈𝐊𝐄 𝓼𝓱𝓸𝓮𝓼",
        "Ⓝⓘⓚⓔ ⓢⓗⓞⓔⓢ",
        "🅽🅸🅺🅴 🅢🅗🅞🅔🅢",
        "ɴɪᴋᴇ sʜᴏᴇs",
        "Ni\u00adke™\u200b\u3000sho\ufeffes",
    ],
)
def test_letters_in_another_style_are_the_same_words(text: str) -> None:
    assert comparable(text).casefold() == "nike shoes"


def test_letters_of_other_alphabets_and_emoji_stay() -> None:
    text = "Стол из дуба, 家具, Café, Öl, ß, 🛋️"
    assert comparable(text) == text


def test_words_are_shared_and_places_filtered_in_any_letters() -> None:
    products = [
        Product(
            product_id="a", name=name, description="", category="", price=None, currency="", location="", image_ids=()
        )
        for name in ("𝓿𝓲𝓷𝓽𝓪𝓰𝓮 dress", "Vintage lamp")
    ]
    assert common_words(products[0], products[1], lambda _: 0.0) == ("vintage",)
    table = pd.DataFrame({"category": ["Tops"], "location": ["Ｙｏｒｋ"], "price": [None]})
    assert FilteredTable(table).match_case(Filters(location="york")).location == "Ｙｏｒｋ"
