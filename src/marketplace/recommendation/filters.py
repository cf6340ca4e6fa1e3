"""Filters on recommended products: one definition for the table, the command line, the API, the page and Qdrant.

To add a filter, add a field to `Filters`: a condition on a column of `Products.table`.
"""

import argparse
import math
import operator
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from annotated_types import Ge, Le, MaxLen

from marketplace.common.errors import MarketplaceError
from marketplace.texts.comparison import comparable

if TYPE_CHECKING:  # imported where they are needed, so that `marketplace --help` is fast
    import numpy as np
    import pandas as pd

Kind = Literal["choice", "amount", "flag"]
KINDS: dict[Any, Kind] = {str | None: "choice", float | None: "amount", bool | None: "flag"}  # by a filter's type
Operator = Literal["is", "at least", "at most"]
OPERATORS = {"is": operator.eq, "at least": operator.ge, "at most": operator.le}
MAX_NAME_LENGTH = 300  # characters of a category or place in a question
MAX_AMOUNT = 1e12  # of money in a question
MAX_EXAMPLES = 10  # names in a message
LEAST_LIKENESS = 75  # of a mistyped name, from 0 to 100
UNKNOWN_TEXT = -2  # the code of a text that no product has; pandas codes a missing text as -1


@dataclass(frozen=True)
class Condition:
    """Compares a column of `Products.table` with the value of a filter. A missing value never passes."""

    column: str
    operator: Operator  # between the product's value and the filter's
    label: str  # on the page
    help: str  # in the terminal, the API and the page
    metavar: str | None = None  # of the option in the terminal; a flag has none


@dataclass(frozen=True)
class Filters:
    """Conditions on a recommended product; None: no condition."""

    category: Annotated[
        str | None,
        MaxLen(MAX_NAME_LENGTH),
        Condition(column="category", operator="is", label="Category", help="only this root category", metavar="NAME"),
    ] = None
    location: Annotated[
        str | None,
        MaxLen(MAX_NAME_LENGTH),
        Condition(column="location", operator="is", label="Location", help="only this place", metavar="PLACE"),
    ] = None
    min_price: Annotated[
        float | None,
        Ge(0),
        Le(MAX_AMOUNT),
        Condition(
            column="price",
            operator="at least",
            label="Lowest price",
            help="lowest price; leaves out products without a price",
            metavar="AMOUNT",
        ),
    ] = None
    max_price: Annotated[
        float | None,
        Ge(0),
        Le(MAX_AMOUNT),
        Condition(
            column="price",
            operator="at most",
            label="Highest price",
            help="highest price; leaves out products without a price",
            metavar="AMOUNT",
        ),
    ] = None

    def conditions(self) -> Iterator[tuple[Condition, Any]]:
        """Yield the conditions that are set, each with the filter's value."""
        for name, condition in CONDITIONS.items():
            value = getattr(self, name)
            if value is not None:
                yield condition, value

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add an option for each filter."""
        for name, condition in CONDITIONS.items():
            option = f"--{name.replace('_', '-')}"
            if KIND_OF[name] == "flag":
                parser.add_argument(option, action="store_const", const=True, help=condition.help)
            elif KIND_OF[name] == "amount":
                parser.add_argument(option, type=amount, metavar=condition.metavar, help=condition.help)
            else:
                help_text = f"{condition.help}; a part of its name is enough"
                parser.add_argument(option, metavar=condition.metavar, help=help_text)

    @classmethod
    def from_arguments(cls, options: argparse.Namespace) -> Self:
        """Return the filters that those options were set to."""
        return cls(**{name: getattr(options, name) for name in CONDITIONS})


def _condition_of(annotation: Any) -> Condition:
    return next(part for part in get_args(annotation) if isinstance(part, Condition))


CONDITIONS: dict[str, Condition] = {entry.name: _condition_of(entry.type) for entry in fields(Filters)}
KIND_OF: dict[str, Kind] = {entry.name: KINDS[get_args(entry.type)[0]] for entry in fields(Filters)}
COLUMNS: dict[str, Kind] = {condition.column: KIND_OF[name] for name, condition in CONDITIONS.items()}


def amount(text: str) -> float:
    """Parse an amount, with a currency sign or without, such as "£1,250" or "12.50". Raises ArgumentTypeError."""
    signs = "".join(letter for letter in text if unicodedata.category(letter) == "Sc")
    digits = text.strip().lstrip(signs)
    try:
        value = float(digits.replace(",", ""))
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount such as 12.50")
    return value


class FilteredTable:
    """The columns of a table of products that filters compare, converted once."""

    def __init__(self, products: "pd.DataFrame") -> None:
        import numpy as np
        import pandas as pd

        self._all = np.ones(len(products), dtype=bool)
        self._values: dict[str, np.ndarray] = {}  # (P,) for each column: texts as codes, numbers and flags as they are
        self._codes: dict[str, dict[str, int]] = {}  # text to code, for each column of texts
        for column, kind in COLUMNS.items():
            if kind == "choice":  # comparing the texts of a million products would take 30 ms
                self._values[column], texts = pd.factorize(products[column])
                self._codes[column] = {text: code for code, text in enumerate(texts)}
            else:
                self._values[column] = products[column].map(_as_float).to_numpy(float)

    @property
    def price(self) -> "np.ndarray":
        """The prices `(P,) float64`; NaN: no price."""
        return self._values["price"]

    def passing(self, filters: Filters, numbers: "np.ndarray | slice" = slice(None)) -> "np.ndarray":
        """Return a mask of the products that pass: `(P,) bool`, or one value for each of the given numbers."""
        mask = self._all[numbers].copy()
        for condition, value in filters.conditions():
            codes = self._codes.get(condition.column)
            operand = value if codes is None else codes.get(value, UNKNOWN_TEXT)
            mask &= OPERATORS[condition.operator](self._values[condition.column][numbers], operand)
        return mask

    def choices(self, name: str) -> list[str]:
        """Return the values to choose from for a filter, sorted; none for amounts and flags."""
        return sorted(self._codes.get(CONDITIONS[name].column, []))

    def counts(self, name: str, numbers: "np.ndarray") -> dict[str, int]:
        """Count the products with these numbers for each value of a filter, the most frequent value first."""
        import numpy as np

        column = CONDITIONS[name].column
        texts = list(self._codes[column])
        counts = np.bincount(self._values[column][numbers], minlength=len(texts))
        order = np.argsort(-counts, kind="stable")
        return {texts[code]: int(counts[code]) for code in order.tolist() if counts[code]}

    def match_case(self, filters: Filters) -> Filters:
        """Return the same filters with the names of the table, for names in any case and parts of names.

        Raises MarketplaceError if no product has such a name, or if a part belongs to several.
        """
        matched: dict[str, Any] = {}
        for name, kind in KIND_OF.items():
            value = getattr(filters, name)
            if kind == "choice" and value is not None:
                matched[name] = self._match_name(name, value)
        return replace(filters, **matched)

    def _match_name(self, name: str, value: str) -> str:
        choices = {comparable(text).casefold(): text for text in self.choices(name)}
        key = comparable(value).casefold()
        if key in choices:
            return choices[key]
        containing = [text for folded, text in choices.items() if key in folded]
        if not containing:
            raise MarketplaceError(f"no product has the {name} {value!r}. {_suggest(key, choices)}")
        if len(containing) > 1:
            raise MarketplaceError(f"{value!r} may be the {name} {_list(containing, 'or')}: write more of it.")
        return containing[0]


def _suggest(key: str, choices: dict[str, str]) -> str:
    """Return the names that a mistyped one, or a mistyped part of one, may mean; some examples if there is none."""
    from rapidfuzz import fuzz, process

    close = process.extract(key, list(choices), scorer=fuzz.partial_ratio, score_cutoff=LEAST_LIKENESS, limit=3)
    if close:
        return f"Did you mean {_list([choices[folded] for folded, *_ in close], 'or')}?"
    return f"There are, for example: {_list(list(choices.values()), 'and')}."


def _list(names: list[str], word: str) -> str:
    """Return names as a text, without most of many."""
    quoted = [repr(name) for name in names[:MAX_EXAMPLES]]
    if len(names) > MAX_EXAMPLES:
        return f"{', '.join(quoted)} {word} {len(names) - MAX_EXAMPLES} others"
    return f" {word} ".join(filter(None, [", ".join(quoted[:-1]), *quoted[-1:]]))


def _as_float(value: Any) -> float:
    return math.nan if value is None else float(value)
