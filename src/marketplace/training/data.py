"""Training data: images, labels and splits, and the order and mirroring of the images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from marketplace.common.errors import MarketplaceError
from marketplace.compute.arrays import Images, ShardedArray
from marketplace.inference.features import Features


class Split(NamedTuple):
    """Rows of the image array, ascending, and for each its label, its product and its leaf category."""

    rows: np.ndarray  # (N,) int
    labels: Tensor  # (N,) int64
    products: Tensor  # (N,) int64, the same number for photos of one product
    leaves: Tensor  # (N,) int64, its number among TrainingData.leaves; -1: not one of them


@dataclass(frozen=True)
class TrainingData:
    """All images, and which of them are for training and validation."""

    images: Images  # (N, S, S, 3) uint8
    train: Split
    val: Split
    categories: list[str]
    leaves: list[str]  # category paths that have a training photo

    def check(self, batch_size: int) -> None:
        """Raise MarketplaceError if nothing could be learned: no photos of a category, no full batch."""
        if len(self.categories) < 2:
            raise MarketplaceError("there is only one category, so there is nothing to classify: fetch more products.")
        for name, split in (("training", self.train), ("validation", self.val)):
            if not len(split.rows):
                raise MarketplaceError(
                    f"the {name} split has no photos: run `dvc repro clean`, or fetch more products."
                )
        counts = torch.bincount(self.train.labels, minlength=len(self.categories)).tolist()
        missing = [name for name, count in zip(self.categories, counts, strict=True) if not count]
        if missing:
            raise MarketplaceError(
                f"the training split has no photos of {', '.join(missing)}: run `dvc repro clean`, or fetch more."
            )
        if batch_size > len(self.train.rows):
            raise MarketplaceError(
                f"train.batch_size = {batch_size} is more than the {len(self.train.rows)} photos of the training split."
            )


def training_data(images: Path, table: Path, categories: list[str]) -> TrainingData:
    """Open the folder of images, memory-mapped, and read the splits of training_data.parquet."""
    rows = pd.read_parquet(table, columns=["label", "product_id", "category_path", "split"])
    leaves = sorted(rows["category_path"][rows["split"] == "train"].unique())
    train, val = (split_of(rows, name, leaves) for name in ("train", "val"))
    return TrainingData(ShardedArray(images), train, val, categories, leaves)


def split_of(table: pd.DataFrame, name: str, leaves: Sequence[str] = ()) -> Split:
    """The rows of one split of a table with label, product_id, category_path and split."""
    rows = np.flatnonzero(table["split"] == name)
    chosen = table.iloc[rows]
    products = pd.factorize(chosen["product_id"])[0]
    numbers = pd.Index(leaves, dtype=str).get_indexer(chosen["category_path"])
    return Split(
        rows, torch.tensor(chosen["label"].to_numpy()), torch.from_numpy(products), torch.from_numpy(numbers).long()
    )


class Views:
    """The training images' features, plain and mirrored."""

    def __init__(self, plain: Features, mirrored: Features | None) -> None:
        self._plain, self._mirrored = plain, mirrored

    def __call__(self, rows: np.ndarray, flip: np.ndarray) -> Tensor:
        """Features `(B, C, H, W)` of `rows`, of the mirror image wherever `flip` is true."""
        if self._mirrored is None or not flip.any():
            return self._plain(rows)
        if flip.all():
            return self._mirrored(rows)
        plain, mirrored = self._plain(rows[~flip]), self._mirrored(rows[flip])
        order = np.empty(len(rows), dtype=np.int64)
        order[np.flatnonzero(~flip)] = np.arange(len(plain))
        order[np.flatnonzero(flip)] = np.arange(len(plain), len(rows))
        return torch.cat([plain, mirrored])[torch.from_numpy(order)]


def shuffled(split: Split, rng: np.random.Generator, products_together: bool) -> np.ndarray:
    """The places `0 … N - 1` of a split in random order; on request, the photos of a product stay together."""
    photos = rng.permutation(len(split.rows))
    if not products_together:
        return photos
    products = split.products.numpy()
    place_of_product = rng.permutation(int(products.max()) + 1)
    return photos[np.argsort(place_of_product[products[photos]], kind="stable")]


def batches(order: np.ndarray, size: int) -> list[np.ndarray]:
    """Cut `order` into batches of `size`; a last image alone joins the batch before, as BatchNorm needs two."""
    cuts = list(range(size, len(order), size))
    if cuts and len(order) - cuts[-1] == 1:
        cuts.pop()
    return np.split(order, cuts)
