"""Suggestions while somebody types a search."""

import pandas as pd
import pytest

from marketplace.recommendation.keywords import KeywordIndex
from marketplace.serving.suggestions import MAX_OF_A_KIND, Suggestions

LISTINGS = [
    ("Grey corner sofa", "Home & Garden / Sofas", "Hackney, London"),
    ("Grey corner sofa", "Home & Garden / Sofas", "Hackney, London"),
    ("Silver Cross Buggy", "Baby / Prams / Private", "Leeds"),
    ("Chest of drawers -NEW -white", "Home & Garden / Storage", "Leith"),
    ("Sofa bed", "Home & Garden / Sofa Beds / Private", "Leith"),
    ("Crème brûlée set", "Home & Garden / Kitchen", "Łódź"),
    *((f"Leather boots {size}", "Clothing / Shoes", "Leeds") for size in range(30)),
]


@pytest.fixture(scope="module")
def suggestions() -> Suggestions:
    table = pd.DataFrame(LISTINGS, columns=["product_name", "category_path", "location"])
    table["product_description"] = ""
    return Suggestions(table, KeywordIndex(table))


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("drawers", [("title", "Chest of drawers - NEW - white")]),  # a minus would leave it out
        ("bug", [("title", "Silver Cross Buggy")]),
        (
            "sof",
            [("category", "Sofas"), ("category", "Sofa Beds"), ("title", "Sofa bed"), ("title", "Grey corner sofa")],
        ),
        ("le", [("place", "Leeds"), ("place", "Leith")]),
        ("hackn", [("place", "Hackney, London")]),
        ("priv", []),  # a level below several branches
        ("home gar", [("category", "Home & Garden")]),
        ("home and g", [("category", "Home & Garden")]),
        ("grey sofa -cor", []),
        ("CREME BR", [("title", "Crème brûlée set")]),
        ("lether", [("title", "Leather boots 0")]),
        ("zzqx", []),
        ("  ", []),
        ("'", []),
    ],
)
def test_categories_places_and_titles_are_suggested(
    suggestions: Suggestions, typed: str, expected: list[tuple[str, str]]
) -> None:
    found = [(suggestion.kind, suggestion.text) for suggestion in suggestions.suggest(typed)]
    assert found[: len(expected)] == expected if expected else not found
    for kind in ("title", "category", "place"):
        assert sum(own_kind == kind for own_kind, _ in found) <= MAX_OF_A_KIND
    assert len(set(found)) == len(found)
