"""The models, indexes and squares that answer questions. Each is read once, when the first question needs it."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marketplace.common.damage import reading
from marketplace.common.files import release_pages
from marketplace.compute.arrays import ShardedArray
from marketplace.recommendation.fingerprints import (
    IDENTITY_INDEX,
    IMAGE_MODEL,
    KINDS,
    SIMILAR_INDEX,
    SQUARES,
    TEXT_MODEL,
    check_fingerprints,
)
from marketplace.recommendation.products import Products
from marketplace.recommendation.ranking import IndexSearch
from marketplace.serving.matching import VectorStore

if TYPE_CHECKING:  # imported where a model is read, so that questions without one are fast
    from marketplace.embedding.onnx import LoadedModel
    from marketplace.texts.text_model import TextModel


class Models:
    """The models, indexes and squares of a pipeline that has run in `root`.

    One thread at a time reads a model: two must not import the same large library at once. Reading raises
    MarketplaceError if a file is missing or differs from its fingerprint.
    """

    def __init__(self, root: Path, fingerprints: dict[str, str]) -> None:
        self._root = root
        self._fingerprints = fingerprints
        self._lock = threading.RLock()
        self._cache: dict[str, Any] = {}

    def check(self) -> None:
        """Raise MarketplaceError if a model is missing or differs from its fingerprint."""
        check_fingerprints(self._root, self._fingerprints, [IMAGE_MODEL, TEXT_MODEL])

    @property
    def image(self) -> "LoadedModel":
        """The image model."""

        def read(path: Path) -> "LoadedModel":
            from marketplace.embedding.onnx import load_onnx

            return load_onnx(path, self._fingerprints[IMAGE_MODEL])

        return self._read_once(IMAGE_MODEL, read)

    @property
    def text(self) -> "TextModel":
        """The text model."""

        def read(path: Path) -> "TextModel":
            from marketplace.texts.text_model import TextModel

            return TextModel(path, self._fingerprints[TEXT_MODEL])

        return self._read_once(TEXT_MODEL, read)

    @property
    def squares(self) -> ShardedArray:
        """The squares of the catalogue's photos, `(N, S, S, 3) uint8`, in the order of the training data."""
        return self._read_once(SQUARES, ShardedArray)

    @property
    def kinds(self) -> np.ndarray:
        """The kind vectors `(N, k) float32` of the catalogue's photos, in a mapped file."""

        def read(path: Path) -> np.ndarray:
            with reading(path):
                return np.load(path, mmap_mode="r")

        kinds: np.ndarray = self._read_once(KINDS, read)
        return kinds

    def index(self, name: str) -> Any:
        """Return a FAISS index by the name of its file."""

        def read(path: Path) -> Any:
            from marketplace.recommendation.index import read_index

            return read_index(path)

        return self._read_once(name, read)

    def _read_once(self, name: str, read: Callable[[Path], Any]) -> Any:
        with self._lock:
            if name not in self._cache:
                check_fingerprints(self._root, self._fingerprints, [name])
                self._cache[name] = read(self._root / name)
            return self._cache[name]


def open_similar(models: Models, products: Products) -> IndexSearch:
    """Return the index of the products' parts, which is opened when a question needs it."""
    return IndexSearch(lambda: models.index(SIMILAR_INDEX), np.arange(len(products.table)))


def open_vectors(models: Models, products: Products, similar: IndexSearch) -> VectorStore:
    """Return the vectors of a catalogue, in files that are opened when a question needs them."""

    def kinds_of(rows: np.ndarray) -> np.ndarray:
        kinds = models.kinds[rows]
        release_pages(models.kinds)  # or all that were ever read would count as this process's memory
        return kinds

    return VectorStore(
        similar=similar,
        identity=IndexSearch(lambda: models.index(IDENTITY_INDEX), products.product_of_row, seldom=True),
        kinds_of=kinds_of,
        check=lambda: None,
    )
