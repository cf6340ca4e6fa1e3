"""Search by the names of categories and places, with slight misspellings."""

import numpy as np
import pandas as pd

from marketplace.texts.comparison import comparable

MIN_LIKENESS = 86  # out of 100: allows a plural, or one wrong letter in a name of seven
SEPARATOR = " / "  # between the categories of a path


class NameSearch:
    """The names of categories and places; each is compared once, however many products share it."""

    def __init__(self, products: pd.DataFrame) -> None:
        self._columns = [_Names(products["category_path"]), _Names(products["location"])]

    def match(self, words: str) -> np.ndarray:
        """Return a mask `(P,) bool` of the products in a category or place with this name."""
        name = comparable(words).casefold()
        return np.logical_or.reduce([column.match(name) for column in self._columns])


class _Names:
    """The names in a column of the products' table."""

    def __init__(self, values: "pd.Series[str]") -> None:
        self._codes, names = pd.factorize(values)
        self._parts = [[comparable(part).casefold() for part in name.split(SEPARATOR)] for name in names]

    def match(self, name: str) -> np.ndarray:
        from rapidfuzz.fuzz import ratio

        matches = [any(ratio(part, name) >= MIN_LIKENESS for part in parts) for parts in self._parts]
        return np.array(matches, dtype=bool)[self._codes]
