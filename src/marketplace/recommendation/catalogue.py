"""A catalogue: its products, the vectors of their photos, and the vectors of their texts."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from marketplace.recommendation.fingerprints import (
    EMBEDDINGS,
    IMAGE_MODEL,
    TEXT_EMBEDDINGS,
    TEXT_MODEL,
    TRAINING_DATA,
)
from marketplace.recommendation.products import Products, products_of
from marketplace.recommendation.ranking import with_words
from marketplace.vectors.tables import PhotoVectors, read_embeddings, read_text_embeddings


@dataclass(frozen=True)
class Catalogue:
    """The products of a finished pipeline, and their vectors."""

    photos: pd.DataFrame  # the training data, a row per photo
    products: Products
    vectors: PhotoVectors  # in the order of `photos`
    texts: np.ndarray  # (P, t) text vectors, in the order of `products`

    def similar(self, words: float) -> np.ndarray:
        """Return the vectors `(N, k + t)` for the index that finds similar products, see `with_words`."""
        return with_words(self.vectors.kind, self.texts[self.products.product_of_row], words)

    @cached_property
    def identity(self) -> np.ndarray:
        """The vectors `(N, d + 1)` for the index that finds the same product in a photo.

        The last value is the negative hub bias; the vector of a question has 1 there.
        """
        return np.hstack([self.vectors.identity, -self.vectors.hub_bias[:, None]])


def read_catalogue(root: Path, *, check_models: bool = True) -> Catalogue:
    """Read the catalogue of the pipeline that has run in `root`.

    Raises MarketplaceError if its tables are from different runs, or, with `check_models`, not from the models there.
    """
    photos, products, texts = read_texts(root, check_models=check_models)
    models = [root / IMAGE_MODEL] if check_models else []
    vectors = read_embeddings(root / EMBEDDINGS, photos, models)
    return Catalogue(photos=photos, products=products, vectors=vectors, texts=texts)


def read_texts(root: Path, *, check_models: bool = True) -> tuple[pd.DataFrame, Products, np.ndarray]:
    """Read the catalogue without the vectors of photos: the training data, the products, and their text vectors."""
    photos = pd.read_parquet(root / TRAINING_DATA)
    products = products_of(photos)
    texts = read_text_embeddings(
        root / TEXT_EMBEDDINGS,
        products.table["product_id"].tolist(),
        root / TEXT_MODEL if check_models else None,
    )
    return photos, products, texts
