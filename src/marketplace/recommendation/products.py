"""The products behind the photos: one row each, and which photos show them."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import islice, takewhile

import numpy as np
import pandas as pd

from marketplace.common.groups import connected

COLUMNS = [
    *("product_id", "product_name", "product_description", "category", "category_path", "price", "currency"),
    *("location", "split", "group"),
]


@dataclass(frozen=True)
class Product:
    """A product as a shopper sees it."""

    product_id: str
    name: str
    description: str
    category: str  # the whole path
    price: Decimal | None  # None: no price
    currency: str  # its sign, such as £, or its code
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


def price_text(price: Decimal | None, currency: str) -> str:
    """A price as it is shown.

    >>> price_text(Decimal("1250.00"), "£"), price_text(Decimal("5.00"), "CHF"), price_text(None, "£")
    ('£1,250.00', 'CHF 5.00', 'no price')
    """
    space = " " if currency[-1:].isalpha() else ""
    return "no price" if price is None else f"{currency}{space}{price:,}"


@dataclass(frozen=True)
class Products:
    """The products, ordered by id, and their photos as row numbers of the training data, product by product."""

    table: pd.DataFrame  # (P rows) COLUMNS; `group` is equal for products that share a photo
    image_ids: np.ndarray  # (N,) of the training data
    photos: np.ndarray  # (N,) int, rows of the training data, ascending within a product
    starts: np.ndarray  # (P,) int, where in `photos` those of each product begin

    @cached_property
    def number_of(self) -> dict[str, int]:
        """Product id to its row in `table`."""
        return {product_id: number for number, product_id in enumerate(self.table["product_id"])}

    @property
    def ends(self) -> np.ndarray:
        """`(P,) int`, where in `photos` those of each product end."""
        return np.append(self.starts[1:], len(self.photos))

    @property
    def categories(self) -> np.ndarray:
        """`(P,)`, the root category of each product."""
        categories: np.ndarray = self.table["category"].to_numpy()
        return categories

    @property
    def photo_groups(self) -> np.ndarray:
        """`(P,) int`, equal for products that share a photo, or nearly so."""
        groups: np.ndarray = self.table["group"].to_numpy()
        return groups

    @cached_property
    def text_groups(self) -> np.ndarray:
        """`(P,) int`, equal for products with the same title; one without a title is alone."""
        titles = self.table["product_name"].map(lambda name: " ".join(name.casefold().split()))
        groups: np.ndarray = pd.factorize(titles.where(titles != "", self.table["product_id"]))[0]
        return groups

    @cached_property
    def groups(self) -> np.ndarray:
        """`(P,) int`, equal for listings that are recommended once: those linked by photos or by texts."""
        return connected([pd.factorize(self.photo_groups)[0], self.text_groups])

    @cached_property
    def product_of_row(self) -> np.ndarray:
        """`(N,) int`: for each row of the training data, the row of its product in `table`."""
        owners = np.empty(len(self.photos), dtype=np.int64)
        owners[self.photos] = np.repeat(np.arange(len(self.starts)), self.ends - self.starts)
        return owners

    def photos_of(self, number: int) -> np.ndarray:
        """The rows of the training data that show a product."""
        return self.photos[self.starts[number] : self.ends[number]]

    def photos_of_block(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows of the training data that show products, product by product, and where each product's begin."""
        parts = [self.photos_of(number) for number in numbers.tolist()]
        starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
        return np.concatenate(parts), starts

    def product(self, number: int) -> Product:
        """A product by its row in `table`."""
        product_id, name, description, category, price, currency, location = self._shown[number]
        images = tuple(self.image_ids[self.photos_of(number)].tolist())
        return Product(product_id, name, description, category, price, currency, location, images)

    @cached_property
    def _shown(self) -> list[tuple[str, str, str, str, Decimal | None, str, str]]:
        # Reading row by row from pandas would take most of an answer's time.
        names = ["product_id", "product_name", "product_description", "category_path", "price", "currency", "location"]
        return list(self.table[names].itertuples(index=False, name=None))


def products_of(training_data: pd.DataFrame) -> Products:
    """The products of the training data."""
    codes, ids = pd.factorize(training_data["product_id"], sort=True)
    photos = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[photos], np.arange(len(ids)))
    first = training_data.iloc[photos[starts]]
    table = first[COLUMNS].reset_index(drop=True)
    return Products(table, training_data["image_id"].to_numpy(), photos, starts)
