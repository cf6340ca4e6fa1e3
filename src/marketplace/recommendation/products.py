"""The products of the training data, one row each, and the photos of each."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import islice, takewhile
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from marketplace.compute.groups import number_groups
from marketplace.texts.comparison import comparable

SEPARATOR = " / "  # between the levels of a category path
COLUMNS = [
    "product_id",
    "product_name",
    "product_description",
    "category",
    "category_path",
    "price",
    "currency",
    "location",
    "split",
    "group",
]


@dataclass(frozen=True)
class Product:
    """A product as a shopper sees it."""

    product_id: str
    name: str
    description: str
    category: str  # the whole path
    price: Decimal | None  # None: no price
    currency: str  # a sign, such as £, or a code
    location: str
    image_ids: tuple[str, ...]


def matching_ids(ids: Sequence[str], text: str) -> list[str]:
    """Return which of the sorted `ids` a text may mean: the id that it is, or else all that begin with it.

    >>> matching_ids(["ab", "abc", "abd", "b"], "ab"), matching_ids(["abc", "abd", "b"], "ab")
    (['ab'], ['abc', 'abd'])
    """
    start = bisect_left(ids, text)
    matches = list(takewhile(lambda product_id: product_id.startswith(text), islice(ids, start, None)))
    return [text] if matches[:1] == [text] else matches


def repeated_levels(paths: Iterable[str]) -> frozenset[str]:
    """Return the names of levels below several branches of category paths: alone, they say nothing.

    >>> sorted(repeated_levels(["Cars / Private", "Sofas / Private", "Sofas / Beds"]))
    ['Private']
    """
    parents: dict[str, set[str]] = defaultdict(set)
    for path in set(paths):
        levels = path.split(SEPARATOR)
        for depth, name in enumerate(levels):
            parents[name].add(SEPARATOR.join(levels[:depth]))
    return frozenset(name for name, branches in parents.items() if len(branches) > 1)


def price_text(price: Decimal | None, currency: str) -> str:
    """Format a price for shoppers.

    >>> price_text(Decimal("1250.00"), "£"), price_text(Decimal("5.00"), "CHF"), price_text(None, "£")
    ('£1,250', 'CHF 5', 'no price')
    >>> price_text(Decimal("9.50"), "£"), price_text(Decimal("0.00"), "£")
    ('£9.50', 'Free')
    """
    if price is None:
        return "no price"
    if not price:
        return "Free"
    space = " " if currency[-1:].isalpha() else ""
    amount = f"{price:,}"
    return f"{currency}{space}{amount.removesuffix('.00')}"


def shared_label(same_photo: bool, same_text: bool) -> str:
    """Return the label of a similar product that shares a photo or the title with the question; nothing for others."""
    if same_photo:
        return "same photo"
    return "same title" if same_text else ""


@dataclass(frozen=True)
class Products:
    """The products, ordered by id, and their photos as row numbers of the training data, product by product."""

    table: pd.DataFrame  # COLUMNS, P rows; `group` is equal for products that share a photo
    image_ids: pd.api.extensions.ExtensionArray | np.ndarray  # (N,) in the order of the training data
    photos: np.ndarray  # (N,) int, rows of the training data, ascending within a product
    starts: np.ndarray  # (P,) int, the place in `photos` where each product's photos begin

    @cached_property
    def number_of(self) -> dict[str, int]:
        """The row in `table` of each product id."""
        return {product_id: number for number, product_id in enumerate(self.table["product_id"])}

    @cached_property
    def ends(self) -> np.ndarray:
        """`(P,) int`, the place in `photos` where each product's photos end."""
        return np.append(self.starts[1:], len(self.photos))

    @cached_property
    def categories(self) -> np.ndarray:
        """`(P,)`, the root category of each product."""
        codes, names = pd.factorize(self.table["category"])
        return np.asarray(names, dtype=object)[codes]  # products share the strings

    @cached_property
    def repeated_levels(self) -> frozenset[str]:
        """The names of category levels that say nothing alone, see `repeated_levels`."""
        return repeated_levels(self.table["category_path"])

    @property
    def photo_groups(self) -> np.ndarray:
        """`(P,) int`, equal for products that share a photo or nearly the same one."""
        return self.table["group"].to_numpy()

    @cached_property
    def text_groups(self) -> np.ndarray:
        """`(P,) int`, equal for products with the same title; a product without a title is alone."""
        titles = self.table["product_name"].map(lambda name: comparable(name).casefold())
        return pd.factorize(titles.where(titles != "", self.table["product_id"]))[0]

    @cached_property
    def groups(self) -> np.ndarray:
        """`(P,) int`, equal for listings linked by photos or by titles: only one of a group is recommended."""
        return number_groups([pd.factorize(self.photo_groups)[0], self.text_groups])

    @cached_property
    def product_of_row(self) -> np.ndarray:
        """`(N,) int`: for each row of the training data, the row of its product in `table`."""
        owners = np.empty(len(self.photos), dtype=np.int64)
        owners[self.photos] = np.repeat(np.arange(len(self.starts)), self.ends - self.starts)
        return owners

    def photos_of(self, number: int) -> np.ndarray:
        """Return the rows of the training data that show a product."""
        return self.photos[self.starts[number] : self.ends[number]]

    def product(self, number: int) -> Product:
        """Return a product by its row in `table`."""
        return Product(
            product_id=self._value("product_id", number),
            name=self._value("product_name", number),
            description=self._value("product_description", number),
            category=self._value("category_path", number),
            price=self._value("price", number),
            currency=self._value("currency", number),
            location=self._value("location", number),
            image_ids=tuple(self.image_ids[self.photos_of(number)].tolist()),
        )

    def _value(self, column: str, number: int) -> Any:
        value = self._values[column][number]
        return value.as_py() if isinstance(value, pa.Scalar) else value

    @cached_property
    def _values(self) -> dict[str, pa.Array | list[Any]]:
        """The columns of `table`: looking values up in pandas would take most of an answer's time.

        Texts stay as they are in memory, since strings of Python would take several times as much.
        """
        columns = {name: self.table[name] for name in COLUMNS}
        return {
            name: pa.array(column) if column.dtype == "str" else column.tolist() for name, column in columns.items()
        }


def products_of(training_data: pd.DataFrame) -> Products:
    """Collect the products of the training data."""
    codes, ids = pd.factorize(training_data["product_id"], sort=True)
    photos = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[photos], np.arange(len(ids)))
    first_photos = training_data.iloc[photos[starts]]
    return Products(
        table=first_photos[COLUMNS].reset_index(drop=True),
        image_ids=_join_pieces(training_data["image_id"]),
        photos=photos,
        starts=starts,
    )


def _join_pieces(column: "pd.Series[str]") -> pd.api.extensions.ExtensionArray:
    """Return a column in one piece: taking some rows of several makes Arrow put all of them together first."""
    values = pa.array(column)
    if not isinstance(values, pa.ChunkedArray):
        return column.array
    return pd.array(values.combine_chunks(), dtype=column.dtype)
