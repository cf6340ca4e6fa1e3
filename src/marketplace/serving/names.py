"""Search by what products are filed under: their categories and places, also slightly misspelt."""

import numpy as np
import pandas as pd

LEAST_ALIKE = 86  # of 100: a plural or one wrong letter in a name of seven
SEPARATOR = " / "  # of the categories in a path


class NameSearch:
    """The names of products, each looked up once however many products have it."""

    def __init__(self, products: pd.DataFrame) -> None:
        self._columns = [_Column(products["category_path"]), _Column(products["location"])]

    def named(self, words: str) -> np.ndarray:
        """The products `(P,) bool` that are of a category or place with this name."""
        wanted = words.strip().casefold()
        found: np.ndarray = np.logical_or.reduce([column.named(wanted) for column in self._columns])
        return found


class _Column:
    def __init__(self, values: "pd.Series[str]") -> None:
        self._codes, names = pd.factorize(values)
        self._parts = [[part.casefold() for part in name.split(SEPARATOR)] for name in names]

    def named(self, wanted: str) -> np.ndarray:
        from rapidfuzz.fuzz import ratio

        matching = [any(ratio(part, wanted) >= LEAST_ALIKE for part in parts) for parts in self._parts]
        found: np.ndarray = np.array(matching, dtype=bool)[self._codes]
        return found
