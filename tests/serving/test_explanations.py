"""The reasons for a recommendation in a sentence."""

from dataclasses import replace

import pandas as pd
import pytest
from helpers.shop import shop

from marketplace.recommendation.products import Products, products_of
from marketplace.serving.explanation import PartSimilarity, common_words, summarise

FREQUENCIES = {"dfs": 0.01, "corner": 0.03, "sofa": 0.05, "new": 0.4, "condition": 0.5}


def make_products(names: list[str], paths: list[str], descriptions: list[str]) -> Products:
    """Two products, and a third whose category makes "Private" a level that says nothing alone."""
    table, _ = shop(n_products=3)
    products = products_of(table)
    texts = pd.DataFrame(
        {
            "product_name": [*names, ""],
            "category_path": [*paths, "Cars / Private"],
            "product_description": [*descriptions, ""],
        }
    )
    return replace(products, table=products.table.assign(**texts))


def parts(kind: float, title: float) -> dict[str, PartSimilarity]:
    similarities = {"kind": kind, "text": 0.1, "title": title, "path": 1.0}
    return {name: PartSimilarity(similarity=value, weight=0.25) for name, value in similarities.items()}


def words_of(products: Products) -> tuple[str, ...]:
    one, other = (products.product(number) for number in (0, 1))
    return common_words(one, other, lambda word: FREQUENCIES.get(word, 0.0))


@pytest.mark.parametrize(
    ("names", "paths", "kind", "title", "expected"),
    [
        (
            ["New DFS corner sofa", "dfs sofa, corner"],
            ["Home / Sofas", "Home / Sofas"],
            0.9,
            0.9,
            "Both are in Sofas; both say 'dfs' and 'corner'; their photos look alike.",
        ),
        (
            ["Settee", "Couch"],
            ["Home / Sofas", "Home / Chairs"],
            0.2,
            0.8,
            "Both are in Home; their titles mean nearly the same.",
        ),
        (["Settee", "Couch"], ["Home / Sofas / Private", "Home / Sofas / Private"], 0.2, 0.1, "Both are in Sofas."),
        (["New", "New"], ["Home / Sofas", "Toys / Sofas"], 0.9, 0.1, "Their photos look alike."),
        (
            ["Hat", "Sofa"],
            ["Clothes", "Home"],
            0.1,
            0.1,
            "No single reason stands out: they are the nearest in the catalogue.",
        ),
    ],
)
def test_the_most_telling_reasons_come_first(
    names: list[str], paths: list[str], kind: float, title: float, expected: str
) -> None:
    products = make_products(names, paths, ["In new condition", "new condition"])
    assert summarise(products, 0, 1, parts(kind, title), words_of(products)) == expected


def test_words_that_many_listings_have_are_left_out_and_rare_ones_come_first() -> None:
    products = make_products(
        ["New sofa corner dfs", "New DFS sofa"], ["a", "a"], ["A corner. Condition: new", "corner; condition new"]
    )
    assert words_of(products) == ("dfs", "corner", "sofa")
