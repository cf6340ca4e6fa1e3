"""The products behind the photos: one row each, and which photos show them."""

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import numpy as np
import pandas as pd

COLUMNS = ["product_id", "product_name", "category", "category_path", "price", "location", "split", "group"]


@dataclass(frozen=True)
class Product:
    """A product as a shopper sees it."""

    product_id: str
    name: str
    category: str  # the whole path
    price: Decimal | None  # pounds; None: no price
    location: str
    image_ids: tuple[str, ...]


def price_text(price: Decimal | None) -> str:
    """A price as it is shown: `£1,250.00`, or `no price`.

    >>> price_text(Decimal("1250.00")), price_text(None)
    ('£1,250.00', 'no price')
    """
    return "no price" if price is None else f"£{price:,}"


def display_name(product_name: str) -> str:
    """A product's name without what marketplaces append to it.

    >>> display_name("Boots | in Leeds | Listings")
    'Boots'
    """
    return product_name.partition(" | ")[0].strip() or product_name


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
    def groups(self) -> np.ndarray:
        """`(P,) int`, equal for products that share a photo."""
        groups: np.ndarray = self.table["group"].to_numpy()
        return groups

    @cached_property
    def product_of_row(self) -> np.ndarray:
        """`(N,) int`: for each row of the training data, the row of its product in `table`."""
        owners = np.empty(len(self.photos), dtype=np.int64)
        owners[self.photos] = np.repeat(np.arange(len(self.starts)), self.ends - self.starts)
        return owners

    def photos_of(self, number: int) -> np.ndarray:
        """The rows of the training data that show a product."""
        return self.photos[self.starts[number] : self.ends[number]]

    def product(self, number: int) -> Product:
        """A product by its row in `table`."""
        product_id, name, category, price, location = self._shown[number]
        images = tuple(self.image_ids[self.photos_of(number)].tolist())
        return Product(product_id, display_name(name), category, price, location, images)

    @cached_property
    def _shown(self) -> list[tuple[str, str, str, Decimal | None, str]]:
        # Reading row by row from pandas would take most of an answer's time.
        columns = self.table[["product_id", "product_name", "category_path", "price", "location"]]
        return list(columns.itertuples(index=False, name=None))


def products_of(training_data: pd.DataFrame) -> Products:
    """The products of the training data."""
    codes, ids = pd.factorize(training_data["product_id"], sort=True)
    photos = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[photos], np.arange(len(ids)))
    first = training_data.iloc[photos[starts]]
    table = first[COLUMNS].reset_index(drop=True)
    return Products(table, training_data["image_id"].to_numpy(), photos, starts)
