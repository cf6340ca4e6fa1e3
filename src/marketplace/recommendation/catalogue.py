"""A catalogue: its products, and the vectors of their photos and texts."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from marketplace.common.damage import read_parquet
from marketplace.common.files import release_pages
from marketplace.compute.scratch import compute_in_blocks
from marketplace.recommendation.fingerprints import (
    EMBEDDINGS,
    IMAGE_MODEL,
    TEXT_EMBEDDINGS,
    TEXT_MODEL,
    TRAINING_DATA,
)
from marketplace.recommendation.products import Products, products_of
from marketplace.recommendation.similarity import Parts
from marketplace.vectors.tables import PhotoVectors, TextVectors, read_embeddings, read_text_embeddings
from marketplace.vectors.unit_length import to_unit_length


@dataclass(frozen=True)
class IdentityRows:
    """The vectors `(N, d + 1)` for the index that finds the same product in a photo, made when they are asked for.

    The last value is the negative hub bias; the vector of a question has 1 there. See index.Rows.
    """

    vectors: PhotoVectors

    @property
    def shape(self) -> tuple[int, int]:
        """The number of photos and of dimensions."""
        n_photos, dimensions = self.vectors.identity.shape
        return n_photos, dimensions + 1

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors `(n, d + 1)` of some photos."""
        joined = np.hstack([self.vectors.identity[rows], -self.vectors.hub_bias[rows, None]])
        release_pages(self.vectors.identity)
        return joined


@dataclass(frozen=True)
class Catalogue:
    """The products of a finished pipeline, and their vectors."""

    photos: pd.DataFrame  # the training data, a row per photo
    products: Products
    vectors: PhotoVectors  # in the order of `photos`
    texts: TextVectors  # in the order of `products`

    @cached_property
    def parts(self) -> Parts:
        """The parts of the similarity of all products. A product's kind is the mean of its photos' kinds."""
        products = self.products
        kind = self.vectors.kind

        def mean_kinds(numbers: np.ndarray) -> np.ndarray:
            starts = products.starts[numbers]
            photos = products.photos[starts[0] : products.ends[numbers[-1]]] if len(numbers) else numbers
            kinds = np.nan_to_num(kind[photos], posinf=0, neginf=0)
            return to_unit_length(np.add.reduceat(kinds, starts - starts[:1]))

        return Parts(
            kind=compute_in_blocks(mean_kinds, len(products.table), kind),
            text=self.texts.text,
            title=self.texts.title,
            path=self.texts.path,
        )

    @property
    def identity(self) -> IdentityRows:
        """The vectors for the index that finds the same product in a photo."""
        return IdentityRows(self.vectors)


def read_catalogue(root: Path) -> Catalogue:
    """Read the catalogue of the pipeline that has run in `root`.

    Raises MarketplaceError if its tables are from different runs, or not from the models there.
    """
    photos = read_parquet(root / TRAINING_DATA)
    products = products_of(photos)
    product_ids = products.table["product_id"].tolist()
    texts = read_text_embeddings(root / TEXT_EMBEDDINGS, product_ids, root / TEXT_MODEL)
    vectors = read_embeddings(root / EMBEDDINGS, photos, [root / IMAGE_MODEL])
    return Catalogue(photos=photos, products=products, vectors=vectors, texts=texts)
