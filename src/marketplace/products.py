"""The products behind the photos: one row each, and which photos show them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from marketplace.splits import photo_groups

COLUMNS = ["product_id", "product_name", "category", "category_path", "price", "location", "split"]


@dataclass(frozen=True)
class Products:
    """The products, ordered by id, and their photos as row numbers of the training data, product by product."""

    table: pd.DataFrame  # (P rows) COLUMNS, and `group`: equal for products that share a photo, byte by byte
    photos: np.ndarray  # (N,) int, rows of the training data, ascending within a product
    starts: np.ndarray  # (P,) int, where in `photos` each product's begin

    @cached_property
    def number_of(self) -> dict[str, int]:
        """Product id to its row in `table`."""
        return {product_id: number for number, product_id in enumerate(self.table["product_id"])}

    @property
    def ends(self) -> np.ndarray:
        """`(P,) int`, where in `photos` each product's end."""
        return np.append(self.starts[1:], len(self.photos))

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


def display_name(product_name: str) -> str:
    """A product's name without what marketplaces append to it: `Boots | in Leeds | Listings` is `Boots`."""
    return product_name.partition(" | ")[0].strip() or product_name


def products_of(training_data: pd.DataFrame) -> Products:
    """The products of the training data."""
    codes, ids = pd.factorize(training_data["product_id"], sort=True)
    photos = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[photos], np.arange(len(ids)))
    first = training_data.iloc[photos[starts]]
    group = photo_groups(training_data["product_id"], training_data["sha256"])[photos[starts]]
    return Products(first[COLUMNS].assign(group=group).reset_index(drop=True), photos, starts)
