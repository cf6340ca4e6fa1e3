"""Filters: every field of `Filters`, in the table and in the terminal."""

import argparse
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.filters import example_filters, example_values, passes
from helpers.shop import shop

from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.filters import CONDITIONS, KIND_OF, FilteredTable, Filters
from marketplace.recommendation.products import products_of


@pytest.fixture(scope="module")
def products() -> pd.DataFrame:
    """Products, some of them without a price."""
    table = products_of(shop(n_products=40)[0]).table
    table.loc[::7, "price"] = None
    table.loc[::3, "currency"] = "€"
    return table


def test_products_pass_that_a_comparison_one_by_one_lets_pass(products: pd.DataFrame) -> None:
    table = FilteredTable(products)
    numbers = np.array([5, 0, 17, 3])
    for filters in example_filters(products):
        expected = passes(products, filters).to_numpy()
        assert table.passing(filters).tolist() == expected.tolist()
        assert table.passing(filters, numbers).tolist() == expected[numbers].tolist()


@pytest.mark.parametrize("name", CONDITIONS)
def test_each_filter_leaves_something_out(products: pd.DataFrame, name: str) -> None:
    for value in example_values(products, name):
        passing = FilteredTable(products).passing(Filters(**{name: value}))
        assert 0 < passing.sum() < len(products)


def test_nothing_passes_for_a_text_that_no_product_has(products: pd.DataFrame) -> None:
    assert not FilteredTable(products).passing(Filters(category="no such")).any()


@pytest.mark.parametrize("name", CONDITIONS)
def test_each_filter_has_an_option(products: pd.DataFrame, name: str) -> None:
    parser = argparse.ArgumentParser()
    Filters.add_arguments(parser)
    value = example_values(products, name)[0]
    option = f"--{name.replace('_', '-')}"
    arguments = [option] if KIND_OF[name] == "flag" else [option, str(value)]
    assert Filters.from_arguments(parser.parse_args(arguments)) == Filters(**{name: value})


@pytest.mark.parametrize("name", [name for name, kind in KIND_OF.items() if kind == "choice"])
def test_names_may_be_typed_in_any_case(products: pd.DataFrame, name: str) -> None:
    table = FilteredTable(products)
    value = example_values(products, name)[0]
    typed: dict[str, Any] = {name: value.upper()}
    assert table.match_case(Filters(**typed)) == Filters(**{name: value})
    typed[name] = "nowhere"
    with pytest.raises(MarketplaceError, match=f"no product has the {name} 'nowhere'. There are, for example: "):
        table.match_case(Filters(**typed))


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("hackney", "Hackney, London"),
        ("London", "'London' may be the location 'Camden, London' or 'Hackney, London': write more of it."),
        ("York", "York"),  # a whole name, though it is a part of another, too
        ("shire", "West Yorkshire"),
        ("Hackny", "no product has the location 'Hackny'. Did you mean 'Hackney, London'?"),
        ("Paris", "no product has the location 'Paris'. There are, for example: 'Camden, London', 'Hackney, London'"),
        ("", "'' may be the location 'Camden, London', "),
    ],
)
def test_a_part_of_a_name_is_enough(products: pd.DataFrame, typed: str, answer: str) -> None:
    places = ["Camden, London", "Hackney, London", "West Yorkshire", "York"]
    table = FilteredTable(products.iloc[:4].assign(location=places))
    try:
        assert table.match_case(Filters(location=typed)).location == answer
    except MarketplaceError as error:
        assert str(error).startswith(answer)
