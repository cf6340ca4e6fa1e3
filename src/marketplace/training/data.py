"""Training data: images, labels and splits, and the order and mirroring of the images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from marketplace.common.damage import read_parquet
from marketplace.common.errors import MarketplaceError
from marketplace.compute.arrays import Images, ShardedArray
from marketplace.training.feature_tensors import FeatureTensors
from marketplace.training.titles import Titles, embed_titles


class Split(NamedTuple):
    """The images of one split: their rows in the array, ascending, and the classes of each."""

    rows: np.ndarray  # (N,) int
    labels: Tensor  # (N,) int64, the root category
    products: Tensor  # (N,) int64, equal for photos of one product
    leaves: Tensor  # (N,) int64, the leaf category's index in TrainingData.leaves; -1 if it is not there


@dataclass(frozen=True)
class TrainingData:
    """All images, and which of them are for training and validation."""

    images: Images  # (N, S, S, 3) uint8
    train: Split
    val: Split
    categories: list[str]
    leaves: list[str]  # category paths that have a training photo
    titles: Titles | None = None  # of the training photos; None: they are not predicted

    def check(self, batch_size: int) -> None:
        """Raise MarketplaceError if a category has no training photos, a split is empty, or no batch is full."""
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


def read_training_data(
    images: Path, table: Path, categories: list[str], *, sentence_model: Path | None
) -> TrainingData:
    """Open the folder of images, memory-mapped, and read the splits of training_data.parquet.

    The sentence model embeds the titles of the training photos; without it, they are not predicted.
    """
    rows = read_parquet(table, columns=["label", "product_id", "product_name", "category_path", "split"])
    in_training = rows["split"] == "train"
    leaves = sorted(rows["category_path"][in_training].unique())
    return TrainingData(
        images=ShardedArray(images),
        train=select_split(rows, "train", leaves),
        val=select_split(rows, "val", leaves),
        categories=categories,
        leaves=leaves,
        titles=embed_titles(rows["product_name"][in_training].tolist(), sentence_model) if sentence_model else None,
    )


def select_split(table: pd.DataFrame, name: str, leaves: Sequence[str] = ()) -> Split:
    """Return one split of a table that has the columns label, product_id, category_path and split."""
    rows = np.flatnonzero(table["split"] == name)
    photos = table.iloc[rows]
    products, _ = pd.factorize(photos["product_id"])
    leaf_numbers = pd.Index(leaves, dtype=str).get_indexer(photos["category_path"])
    return Split(
        rows=rows,
        labels=torch.tensor(photos["label"].to_numpy()),
        products=torch.from_numpy(products),
        leaves=torch.from_numpy(leaf_numbers).long(),
    )


class Views:
    """The features of the images and, unless training mirrors none, of their mirror images."""

    def __init__(self, plain: FeatureTensors, mirrored: FeatureTensors | None) -> None:
        self._plain = plain
        self._mirrored = mirrored

    def __call__(self, rows: np.ndarray, flips: np.ndarray) -> Tensor:
        """Features `(B, C, H, W)` of the images `rows` `(B,)`, mirrored where `flips` `(B,)` is true."""
        if self._mirrored is None or not flips.any():
            return self._plain(rows)
        if flips.all():
            return self._mirrored(rows)
        plain_places = np.flatnonzero(~flips)
        mirrored_places = np.flatnonzero(flips)
        features = torch.cat([self._plain(rows[plain_places]), self._mirrored(rows[mirrored_places])])
        order = np.argsort(np.concatenate([plain_places, mirrored_places]))
        return features[torch.from_numpy(order)]


def shuffle(split: Split, rng: np.random.Generator, *, products_together: bool) -> np.ndarray:
    """Return the places `0 … N - 1` of a split in random order.

    With `products_together`, the photos of a product follow each other, so that they share a batch; only the product at
    the edge of two batches may be divided.
    """
    photos = rng.permutation(len(split.rows))
    if not products_together:
        return photos
    products = split.products.numpy()
    place_of_product = rng.permutation(int(products.max()) + 1)
    return photos[np.argsort(place_of_product[products[photos]], kind="stable")]


def cut_into_batches(order: np.ndarray, size: int) -> list[np.ndarray]:
    """Cut `order` into batches of `size`; an image left alone joins the batch before, because BatchNorm needs two."""
    cuts = list(range(size, len(order), size))
    if cuts and len(order) - cuts[-1] == 1:
        cuts.pop()
    return np.split(order, cuts)
