"""Questions to a finished pipeline: what is similar to this product, or to this photo, and what is in the catalogue."""

import difflib
import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from marketplace.embeddings import read_embeddings
from marketplace.errors import MarketplaceError
from marketplace.image_model import onnx_model
from marketplace.images import UnreadableImageError, decode, thumbnail
from marketplace.index import nearest_among, read_index
from marketplace.products import display_name, products_of
from marketplace.resize import OVERSAMPLING, letterbox

REASONS = {
    "empty": "the file is empty",
    "not_an_image": "it is no picture (JPEG, PNG, WebP, AVIF, GIF, BMP and TIFF can be read)",
    "too_large": "it has more pixels than any photo",
    "truncated": "it ends too early",
    "damaged": "it is damaged",
}


class UnknownProductError(MarketplaceError):
    """There is no product of that id; `nearest` are ids that look like it."""

    def __init__(self, product_id: str, nearest: list[str]) -> None:
        hint = f" The nearest ids: {', '.join(nearest)}." if nearest else ""
        super().__init__(f"no product has the id {product_id!r}.{hint}")
        self.nearest = nearest


@dataclass(frozen=True)
class Filters:
    """What a recommended product must be; None: anything."""

    category: str | None = None  # root
    location: str | None = None
    min_price: Decimal | None = None  # pounds
    max_price: Decimal | None = None


@dataclass(frozen=True)
class Product:
    """A product as a shopper sees it."""

    product_id: str
    name: str
    category: str  # the whole path
    price: Decimal  # pounds
    location: str
    image_ids: tuple[str, ...]


@dataclass(frozen=True)
class SimilarProduct:
    """A product and how similar it is."""

    rank: int
    score: float  # cosine of the most similar pair of photos
    same_photo: bool  # it shows the very photo that was asked about
    product: Product


class Recommender:
    """The catalogue, its vectors, the index and the image model of a pipeline that has run in `root`.

    Raises MarketplaceError when an output is missing, or is of another run.
    """

    def __init__(self, root: Path) -> None:
        table = root / "data/clean/training_data.parquet"
        index, self._model_path = root / "models/recommendations.index", root / "models/image_model.onnx"
        for path in (table, index, self._model_path):
            if not path.is_file():
                raise MarketplaceError(f"{path} is missing: run `dvc repro` first, or `dvc pull` to get it.")
        self._photos = pd.read_parquet(table)
        self._products = products_of(self._photos)
        self._vectors = read_embeddings(root / "data/embeddings.parquet", self._photos)
        self._index = read_index(index)
        if self._index.ntotal != len(self._photos) or self._index.d != self._vectors.shape[1]:
            raise MarketplaceError(f"{index} is of other vectors: run `dvc repro recommend`.")
        self._squares = np.load(root / "data/resized/full.npy", mmap_mode="r")
        self._image_ids: list[str] = self._photos["image_id"].tolist()
        self._row_of_image = {image_id: row for row, image_id in enumerate(self._image_ids)}
        self._names = self._products.table["product_name"].str.casefold()
        # Row by row from pandas, they would take most of an answer's time.
        shown = self._products.table[["product_id", "product_name", "category_path", "price", "location"]]
        self._facts = list(shown.itertuples(index=False, name=None))
        self._one_at_a_time = threading.Lock()  # a photo keeps all cores busy: two at once would take longer than two

    @cached_property
    def _embed(self) -> Callable[[np.ndarray], np.ndarray]:
        return onnx_model(self._model_path)

    @property
    def categories(self) -> list[str]:
        """The root categories."""
        return sorted(self._products.table["category"].unique())

    @property
    def locations(self) -> list[str]:
        """The places where products are."""
        return sorted(self._products.table["location"].unique())

    def product(self, product_id: str) -> Product:
        """A product by its id. Raises UnknownProductError."""
        return self._product(self._number(product_id))

    def find(self, words: str, filters: Filters, *, offset: int, limit: int) -> tuple[int, list[Product]]:
        """How many products there are with all of the words in their name, and `limit` of them from `offset` on."""
        mask = self._passing(filters)
        for word in words.casefold().split():
            mask &= self._names.str.contains(word, regex=False).to_numpy()
        numbers = np.flatnonzero(mask)
        return len(numbers), [self._product(number) for number in numbers[offset : offset + limit]]

    def similar_to_product(self, product_id: str, k: int, filters: Filters = Filters()) -> list[SimilarProduct]:
        """The `k` most similar other products. Raises UnknownProductError."""
        number = self._number(product_id)
        group = self._products.groups[number]
        mask = self._passing(filters)
        mask[number] = False
        return self._nearest(self._vectors[self._products.photos_of(number)], k, mask, {int(group)})

    def similar_to_photo(self, content: bytes, k: int, filters: Filters = Filters()) -> list[SimilarProduct]:
        """The `k` products most similar to a photo, given as a file's bytes. Raises MarketplaceError if it is none."""
        square = self.square(content)
        with self._one_at_a_time:
            vector = self._embed(square[None])
        copies = np.flatnonzero(self._photos["sha256"] == hashlib.sha256(content).hexdigest())
        groups = self._products.groups[self._products.product_of_row[copies]]
        return self._nearest(vector, k, self._passing(filters), set(groups.tolist()))

    def square(self, content: bytes) -> np.ndarray:
        """A photo as the model sees it, `(S, S, 3) uint8`. Raises MarketplaceError when the bytes are no photo."""
        size = self._squares.shape[1]
        try:
            return letterbox(decode(content, at_least=OVERSAMPLING * size), size)
        except UnreadableImageError as error:
            raise MarketplaceError(f"the photo cannot be read: {REASONS[error.reason]}.") from None

    def photo(self, image_id: str, size: int) -> bytes:
        """A photo of the catalogue as a JPEG of at most `size` pixels a side. Raises KeyError for an unknown id."""
        return thumbnail(self._squares[self._row_of_image[image_id]], size)

    def _nearest(self, vectors: np.ndarray, k: int, mask: np.ndarray, own_groups: set[int]) -> list[SimilarProduct]:
        """The best `k` of the products in `mask` `(P,)`, one of each group, by their photos' similarity."""
        groups = self._products.groups
        best: dict[int, tuple[int, float]] = {}  # group -> product, score; the most similar first
        for row, score in self._photos_by_similarity(vectors, mask, k):
            number = int(self._products.product_of_row[row])
            best.setdefault(int(groups[number]), (number, score))
            if len(best) == k:
                break
        return [
            SimilarProduct(rank, score, group in own_groups, self._product(number))
            for rank, (group, (number, score)) in enumerate(best.items(), start=1)
        ]

    def _photos_by_similarity(self, vectors: np.ndarray, mask: np.ndarray, k: int) -> Iterator[tuple[int, float]]:
        """(row, similarity) of the photos of the products in `mask`, most similar first.

        The index is asked for more and more, until the caller has enough.
        """
        among = mask[self._products.product_of_row]
        n = int(among.sum())
        seen: set[int] = set()
        depth = min(4 * k, n)
        while n:
            scores, found = nearest_among(self._index, vectors, among, depth)
            pairs = [(float(score), int(row)) for score, row in zip(scores.ravel(), found.ravel(), strict=True)]
            # Of one vector's list nothing is missing above its last score; below the highest of these all must wait.
            bound = -np.inf if depth == n else float(scores[:, -1].max())
            for score, row in sorted(pairs, key=lambda pair: (-pair[0], pair[1])):
                if row >= 0 and score >= bound and row not in seen:
                    seen.add(row)
                    yield row, score
            if depth == n:
                return
            depth = min(4 * depth, n)

    def _passing(self, filters: Filters) -> np.ndarray:
        table = self._products.table
        mask = np.ones(len(table), dtype=bool)
        for column, wanted in (("category", filters.category), ("location", filters.location)):
            if wanted is not None:
                mask &= (table[column] == wanted).to_numpy()
        if filters.min_price is not None:
            mask &= (table["price"] >= filters.min_price).to_numpy()
        if filters.max_price is not None:
            mask &= (table["price"] <= filters.max_price).to_numpy()
        return mask

    def _number(self, product_id: str) -> int:
        known = self._products.number_of
        if product_id not in known:
            raise UnknownProductError(product_id, difflib.get_close_matches(product_id, known, n=3, cutoff=0.3))
        return known[product_id]

    def _product(self, number: int) -> Product:
        product_id, name, category, price, location = self._facts[number]
        images = tuple(self._image_ids[row] for row in self._products.photos_of(number))
        return Product(product_id, display_name(name), category, price, location, images)
