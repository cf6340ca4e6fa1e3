"""Filters on recommended products: one definition for the table, the command line, the API and the page.

To add a filter, add a field to `Filters`, compare it in `FilteredTable.passing`, and add an input with the field's name
to the page (`serving/web/index.html`). The command line and the API read the fields from here.
"""

import argparse
import difflib
import math
import unicodedata
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Self

from annotated_types import Ge

from marketplace.common.errors import MarketplaceError

if TYPE_CHECKING:  # imported where they are needed, so that `marketplace --help` is fast
    import numpy as np
    import pandas as pd

NAMES = ("category", "location")  # filters by the name in a column


def amount(text: str) -> float:
    """An amount of money, with a sign or without, such as "£1,250" or "12.50". Raises ArgumentTypeError."""
    digits = text.strip().lstrip("".join(letter for letter in text if unicodedata.category(letter) == "Sc"))
    try:
        value = float(digits.replace(",", ""))
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of money, such as 12.50")
    return value


Price = Annotated[float | None, Ge(0)]


@dataclass(frozen=True)
class Filters:
    """Conditions on a recommended product; None: any. A product without a price passes no price filter.

    The metadata of each field describe its option to argparse.
    """

    category: str | None = field(default=None, metadata={"metavar": "NAME", "help": "only this root category"})
    location: str | None = field(default=None, metadata={"metavar": "PLACE", "help": "only this place"})
    min_price: Price = field(
        default=None,
        metadata={"metavar": "AMOUNT", "type": amount, "help": "lowest price (a product without one is left out)"},
    )
    max_price: Price = field(
        default=None, metadata={"metavar": "AMOUNT", "type": amount, "help": "highest price (likewise)"}
    )

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add an option for each filter."""
        for one in fields(cls):
            parser.add_argument(f"--{one.name.replace('_', '-')}", **one.metadata)

    @classmethod
    def from_arguments(cls, options: argparse.Namespace) -> Self:
        """The filters that those options were set to."""
        return cls(**{one.name: getattr(options, one.name) for one in fields(cls)})


class FilteredTable:
    """The columns of a table of products that filters look at, converted once."""

    def __init__(self, products: "pd.DataFrame") -> None:
        import pandas as pd

        # As numbers: comparing a million texts with one takes 30 ms.
        self._names = {name: pd.factorize(products[name]) for name in NAMES}
        self.price = products["price"].map(lambda price: float("nan") if price is None else float(price)).to_numpy()

    def passing(self, filters: Filters, numbers: "np.ndarray | slice" = slice(None)) -> "np.ndarray":
        """A mask of the products that pass: `(P,) bool`, or of those with these numbers."""
        import numpy as np

        price = self.price[numbers]
        mask = np.ones(len(price), dtype=bool)
        for name, (codes, values) in self._names.items():
            wanted = getattr(filters, name)
            if wanted is not None:
                known = np.flatnonzero(values == wanted)
                mask &= codes[numbers] == known[0] if len(known) else False
        if filters.min_price is not None:
            mask &= price >= filters.min_price
        if filters.max_price is not None:
            mask &= price <= filters.max_price
        return mask

    def known(self, name: str) -> list[str]:
        """The values that the filter `category` or `location` can have, sorted."""
        return sorted(self._names[name][1])

    def counts(self, name: str, numbers: "np.ndarray") -> dict[str, int]:
        """How many of the products with these numbers have each category or location, the most frequent first."""
        import numpy as np

        codes, values = self._names[name]
        counts = np.bincount(codes[numbers], minlength=len(values))
        order = np.argsort(-counts, kind="stable")
        return {values[place]: int(counts[place]) for place in order.tolist() if counts[place]}

    def spelled(self, filters: Filters) -> Filters:
        """The same filters with names spelled as in the table, whatever case they were given in.

        Raises MarketplaceError if no product has such a name.
        """
        given = {name: getattr(filters, name) for name in NAMES}
        spelled: dict[str, Any] = {name: self._spelling(name, value) for name, value in given.items() if value}
        return replace(filters, **spelled)

    def _spelling(self, name: str, value: str) -> str:
        spellings = {text.casefold(): text for text in self.known(name)}
        if value.casefold() not in spellings:
            close = difflib.get_close_matches(value.casefold(), spellings, n=3) or list(spellings)[:20]
            raise MarketplaceError(
                f"no product has the {name} {value!r}; there are, for instance: "
                f"{'; '.join(spellings[text] for text in close)}."
            )
        return spellings[value.casefold()]
