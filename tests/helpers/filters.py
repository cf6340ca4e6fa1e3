"""Filters on a catalogue, and the products that pass them."""

from typing import Any

import pandas as pd

from marketplace.recommendation.filters import CONDITIONS, KIND_OF, Filters


def example_values(products: pd.DataFrame, name: str) -> list[Any]:
    """Two values of a filter; for each, some products of the table pass and others do not."""
    values = products[CONDITIONS[name].column].dropna()
    if KIND_OF[name] == "flag":
        return [True, False]
    if KIND_OF[name] == "amount":
        ordered = sorted(values.astype(float))
        return [ordered[len(ordered) // 4], ordered[3 * len(ordered) // 4]]
    return [str(text) for text in values.value_counts().index[:2]]


def example_filters(products: pd.DataFrame) -> list[Filters]:
    """No filter, each filter of `Filters` with two values, and all at once."""
    examples = {name: example_values(products, name) for name in CONDITIONS}
    alone = [Filters(**{name: value}) for name, values in examples.items() for value in values]
    return [Filters(), *alone, Filters(**{name: values[0] for name, values in examples.items()})]


def passes(products: pd.DataFrame, filters: Filters) -> "pd.Series[bool]":
    """Which products of the table pass."""
    mask = pd.Series(True, index=products.index)
    for name, condition in CONDITIONS.items():
        limit = getattr(filters, name)
        if limit is None:
            continue
        values = products[condition.column]
        if KIND_OF[name] == "amount":
            values = values.astype(float)
        compare = {"is": values.eq, "at least": values.ge, "at most": values.le}
        mask &= compare[condition.operator](limit)
    return mask
