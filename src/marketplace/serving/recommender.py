"""Questions to a finished pipeline: what is similar to this product, or to this photo, and what is in the catalogue."""

import difflib
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from marketplace.common.errors import MarketplaceError
from marketplace.embedding.vectors import read_embeddings
from marketplace.photos.codec import UnreadableImageError, decode, thumbnail
from marketplace.recommendation.filters import FilteredTable, Filters
from marketplace.recommendation.index import read_index
from marketplace.recommendation.products import Product, products_of
from marketplace.recommendation.ranking import nearest_products

REASONS = {
    "empty": "the file is empty",
    "not_an_image": "it is not an image (JPEG, PNG, WebP, AVIF, GIF, BMP and TIFF can be read)",
    "too_large": "it has more pixels than any photo",
    "truncated": "it ends too early",
    "damaged": "it is damaged",
}


ANY = Filters()


class UnknownProductError(MarketplaceError):
    """There is no product with that id; `nearest` are ids that look like it."""

    def __init__(self, product_id: str, nearest: list[str]) -> None:
        hint = f" The nearest ids: {', '.join(nearest)}." if nearest else ""
        super().__init__(f"no product has the id {product_id!r}.{hint}")
        self.nearest = nearest


@dataclass(frozen=True)
class SimilarProduct:
    """A product and how similar it is."""

    rank: int
    score: float  # cosine of the most similar pair of photos
    same_photo: bool  # it shows the very photo that was asked about
    product: Product


class Recommender:
    """The catalogue, its vectors, the index and the image model of a pipeline that has run in `root`.

    Raises MarketplaceError if an output is missing, or is from another run.
    """

    def __init__(self, root: Path) -> None:
        table = root / "data/clean/training_data.parquet"
        index, self._model_path = root / "models/recommendations.index", root / "models/image_model.onnx"
        for path in (table, index, self._model_path):
            if not path.is_file():
                raise MarketplaceError(f"{path} is missing: run `dvc repro` first, or `dvc pull` to get it.")
        self._photos = pd.read_parquet(table)
        self._products = products_of(self._photos)
        self.filtered = FilteredTable(self._products.table)
        self._vectors = read_embeddings(root / "data/embeddings.parquet", self._photos)
        self._index = read_index(index)
        if self._index.ntotal != len(self._photos) or self._index.d != self._vectors.shape[1]:
            raise MarketplaceError(f"{index} is for other vectors: run `dvc repro recommend`.")
        self._squares = np.load(root / "data/resized/full.npy", mmap_mode="r")
        self._row_of_image = {image_id: row for row, image_id in enumerate(self._products.image_ids)}
        self._names = self._products.table["product_name"].str.casefold()
        self._one_at_a_time = threading.Lock()  # a photo keeps all cores busy: two at once would take longer than two

    @cached_property
    def _embed(self) -> Callable[[np.ndarray], np.ndarray]:
        from marketplace.embedding.onnx import onnx_model  # with PyTorch, which questions about products do without

        return onnx_model(self._model_path)

    def product(self, product_id: str) -> Product:
        """A product by its id. Raises UnknownProductError."""
        return self._products.product(self._number(product_id))

    def find(self, words: str, filters: Filters, *, offset: int, limit: int) -> tuple[int, list[Product]]:
        """How many products have all of the words in their name, and `limit` of them from `offset` on."""
        mask = self.filtered.passing(filters)
        for word in words.casefold().split():
            mask &= self._names.str.contains(word, regex=False).to_numpy()
        numbers = np.flatnonzero(mask)
        return len(numbers), [self._products.product(number) for number in numbers[offset : offset + limit]]

    def similar_to_product(self, product_id: str, k: int, filters: Filters = ANY) -> list[SimilarProduct]:
        """The `k` most similar other products. Raises UnknownProductError."""
        number = self._number(product_id)
        passing = self.filtered.passing(filters)
        passing[number] = False
        own_groups = {int(self._products.groups[number])}
        return self._nearest(self._vectors[self._products.photos_of(number)], k, passing, own_groups)

    def similar_to_photo(self, content: bytes, k: int, filters: Filters = ANY) -> list[SimilarProduct]:
        """The `k` products most similar to a photo, given as bytes. Raises MarketplaceError if it is not one."""
        square = self.square(content)
        with self._one_at_a_time:
            vector = self._embed(square[None])
        copies = np.flatnonzero(self._photos["sha256"] == hashlib.sha256(content).hexdigest())
        own_groups = set(self._products.groups[self._products.product_of_row[copies]].tolist())
        return self._nearest(vector, k, self.filtered.passing(filters), own_groups)

    def square(self, content: bytes) -> np.ndarray:
        """A photo as the model sees it, `(S, S, 3) uint8`. Raises MarketplaceError if the bytes are not a photo."""
        from marketplace.photos.squares import OVERSAMPLING, letterbox  # with PyTorch

        size = self._squares.shape[1]
        try:
            return letterbox(decode(content, at_least=OVERSAMPLING * size), size)
        except UnreadableImageError as error:
            raise MarketplaceError(f"the photo cannot be read: {REASONS[error.reason]}.") from None

    def photo(self, image_id: str, size: int) -> bytes:
        """A photo of the catalogue as a JPEG of at most `size` pixels a side. Raises KeyError for an unknown id."""
        return thumbnail(self._squares[self._row_of_image[image_id]], size)

    def _nearest(self, vectors: np.ndarray, k: int, passing: np.ndarray, own_groups: set[int]) -> list[SimilarProduct]:
        ranked = nearest_products(self._products, self._index, vectors, k, passing, own_groups)
        return [
            SimilarProduct(rank, found.score, found.same_photo, self._products.product(found.number))
            for rank, found in enumerate(ranked, start=1)
        ]

    def _number(self, product_id: str) -> int:
        known = self._products.number_of
        if product_id not in known:
            raise UnknownProductError(product_id, difflib.get_close_matches(product_id, known, n=3, cutoff=0.3))
        return known[product_id]
