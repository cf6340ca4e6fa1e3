"""Questions to a finished pipeline: what is similar to this product, or to this photo, and what is in the catalogue."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from marketplace.common.arrays import ShardedArray
from marketplace.common.errors import MarketplaceError, UnavailableError
from marketplace.photos.codec import UnreadableImageError, decode, thumbnail
from marketplace.raw.tables import tidy_id
from marketplace.recommendation import qdrant
from marketplace.recommendation.catalogue import read_catalogue, read_texts
from marketplace.recommendation.filters import FilteredTable, Filters
from marketplace.recommendation.fingerprints import RECOMMENDATIONS, check_fingerprints
from marketplace.recommendation.index import read_index
from marketplace.recommendation.products import Product
from marketplace.recommendation.ranking import IndexSearch, Ranked, Search, Wanted, best_products, nearest_products
from marketplace.recommendation.table import origin_of
from marketplace.recommendation.words import WordSearch

REASONS = {
    "empty": "the file is empty",
    "not_an_image": "it is not an image (JPEG, PNG, WebP, AVIF, GIF, BMP and TIFF can be read)",
    "too_large": "it has more pixels than any photo",
    "too_many_scans": "decoding it would take too long",
    "truncated": "it ends too early",
    "damaged": "it is damaged",
}


ANY = Filters()
LEAST_LIKENESS = 40  # of 100, of an id that is suggested in place of an unknown one
MOST_WAITING = 16  # photos that wait to be looked at, each with a thread
MOST_DECODING = 650_000_000  # bytes, of a photo that is asked about: 160 megapixels as PNG, far more as JPEG
LEAST_WORD_SCORE = 0.3  # of a product that has anything to do with the words, by looking at searches


class BusyError(UnavailableError):
    """Too many questions about photos are waiting."""


class UnknownProductError(MarketplaceError):
    """There is no product with that id; `nearest` are ids that look like it."""

    def __init__(self, product_id: str, nearest: list[str]) -> None:
        super().__init__(f"no product has the id {product_id!r}.{_hint(nearest)}")
        self.nearest = nearest


@dataclass(frozen=True)
class SimilarProduct:
    """A product and how similar it is."""

    rank: int
    score: float  # of a product: photos and words; of a photo: the cosine of the most similar photo; of words: theirs
    same_photo: bool  # it shows the very photo that was asked about
    same_text: bool  # it has the very title that was asked about
    product: Product


class Recommender:
    """The catalogue, its indexes and the models of a pipeline that has run in `root`.

    Raises MarketplaceError if an output is missing, or is from another run.
    """

    def __init__(self, root: Path) -> None:
        recommendations = root / RECOMMENDATIONS
        if not recommendations.exists():
            raise MarketplaceError(f"{recommendations} is missing: run `dvc repro` first, or `dvc pull` to get it.")
        words, files = origin_of(recommendations)
        check_fingerprints(root, files)
        self._image_model_path, self._text_model_path = root / "models/image_model.onnx", root / "models/text_model"
        self._similar: Search
        self._same: Search
        url = qdrant.url_from_environment()
        if url:
            self._photos, self._products, texts = read_texts(root)
            self._similar, self._same = qdrant.searches(url, self._products, files)
        else:
            catalogue = read_catalogue(root)
            self._photos, self._products, texts = catalogue.photos, catalogue.products, catalogue.texts
            similar, same = (read_index(root / f"models/{name}.index") for name in ("similar", "same"))
            self._similar = IndexSearch(similar, catalogue.similar(words), self._products)
            self._same = IndexSearch(same, catalogue.same, self._products)
        self._words = WordSearch(texts)
        self.filtered = FilteredTable(self._products.table)
        self._squares = ShardedArray(root / "data/resized/full")
        self._row_of_image = {image_id: row for row, image_id in enumerate(self._products.image_ids)}
        # A photo keeps all cores busy, and may take a gigabyte to decode: two at once would take longer than two.
        self._one_at_a_time = threading.Lock()
        self._room = threading.BoundedSemaphore(MOST_WAITING)

    def load_models(self) -> None:
        """Load both models now: a server must not answer with a model that came after its vectors."""
        _ = self._embed, self._embed_texts

    @cached_property
    def _embed(self) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
        from marketplace.embedding.onnx import onnx_model  # with PyTorch, which questions about products do without

        return onnx_model(self._image_model_path)

    @cached_property
    def _embed_texts(self) -> Callable[[list[str]], np.ndarray]:
        from marketplace.embedding.text_model import TextModel

        return TextModel(self._text_model_path)

    def product(self, product_id: str) -> Product:
        """A product by its id. Raises UnknownProductError."""
        return self._products.product(self._number(product_id))

    def knows(self, product_id: str) -> bool:
        """True if there is a product with that id."""
        return tidy_id(product_id) in self._products.number_of

    def nearest_ids(self, product_id: str) -> str:
        """A sentence that names the ids most like this one; empty if none is like it."""
        return _hint(self._nearest(product_id))

    def find(self, words: str, filters: Filters, *, offset: int, limit: int) -> tuple[int, list[Product]]:
        """How many products pass, and `limit` of them from `offset` on: those closest to the words first.

        Without words, all products that pass, ordered by id; with words, those that have something to do with them.
        """
        passing = self.filtered.passing(filters)
        numbers = np.flatnonzero(passing)
        if words.strip():
            numbers, scores = self._words.scores(self._embed_texts([words])[0], passing)
            order = np.argsort(-scores, kind="stable")
            numbers = numbers[order[scores[order] >= LEAST_WORD_SCORE]]
        return len(numbers), [self._products.product(int(number)) for number in numbers[offset : offset + limit]]

    def similar_to_product(self, product_id: str, k: int, filters: Filters = ANY) -> list[SimilarProduct]:
        """The `k` most similar other products, by photos and words. Raises UnknownProductError."""
        number = self._number(product_id)
        passing = self.filtered.passing(filters)
        passing[number] = False
        question = self._similar.vectors_of(self._products.photos_of(number))
        wanted = Wanted(passing, filters, without=[number])
        ranked = nearest_products(self._products, self._similar, question, k, wanted, np.array([number]))
        return self._shown(ranked)

    def similar_to_photo(self, content: bytes, k: int, filters: Filters = ANY) -> list[SimilarProduct]:
        """The `k` products most likely to be in a photo, given as bytes. Raises MarketplaceError if it is not one."""
        if not self._room.acquire(blocking=False):
            raise BusyError("too many photos are waiting to be looked at: try again in a few seconds.")
        try:
            with self._one_at_a_time:
                vector = self._embed(self.square(content)[None])[0]
        finally:
            self._room.release()
        copies = np.flatnonzero(self._photos["sha256"] == hashlib.sha256(content).hexdigest())
        asked = np.unique(self._products.product_of_row[copies])
        question = np.hstack([vector, np.ones((1, 1), np.float32)])
        wanted = Wanted(self.filtered.passing(filters), filters)
        ranked = nearest_products(self._products, self._same, question, k, wanted, asked)
        return self._shown([self._with_cosine(found, vector[0]) for found in ranked])

    @property
    def busy(self) -> bool:
        """True while no other question about a photo would be taken."""
        free = self._room.acquire(blocking=False)
        if free:
            self._room.release()
        return not free

    def similar_to_words(self, words: str, k: int, filters: Filters = ANY) -> list[SimilarProduct]:
        """The `k` products whose texts are closest to some words, by meaning and by spelling."""
        numbers, scores = self._words.scores(self._embed_texts([words])[0], self.filtered.passing(filters))
        return self._shown(best_products(self._products, numbers, scores, k))

    def square(self, content: bytes) -> np.ndarray:
        """A photo as the model sees it, `(S, S, 3) uint8`. Raises MarketplaceError if the bytes are not a photo."""
        from marketplace.photos.squares import OVERSAMPLING, letterbox  # with PyTorch

        size = self._squares.shape[1]
        try:
            return letterbox(decode(content, OVERSAMPLING * size, MOST_DECODING), size)
        except UnreadableImageError as error:
            raise MarketplaceError(f"the photo cannot be read: {REASONS[error.reason]}.") from None

    def photo_tag(self, image_id: str, size: int) -> str:
        """The HTTP entity tag of a photo at a size: no other has it. Raises KeyError for an unknown id."""
        row = self._row_of_image[tidy_id(image_id)]
        return f'"{self._photos["sha256"].iat[row][:32]}-{self._squares.shape[1]}-{size}"'

    def photo(self, image_id: str, size: int) -> bytes:
        """A photo of the catalogue as a JPEG of at most `size` pixels a side. Raises KeyError for an unknown id."""
        square = self._squares[self._row_of_image[tidy_id(image_id)]]
        self._squares.release()  # or the whole catalogue's photos would count as this process's memory
        return thumbnail(square, size)

    def _with_cosine(self, found: Ranked, vector: np.ndarray) -> Ranked:
        """The same with the cosine of the most similar photo as its score: what hubs subtract is only for the order."""
        cosines = self._same.vectors_of(self._products.photos_of(found.number))[:, :-1] @ vector
        return replace(found, score=float(cosines.max()))

    def _shown(self, ranked: list[Ranked]) -> list[SimilarProduct]:
        return [
            SimilarProduct(rank, found.score, found.same_photo, found.same_text, self._products.product(found.number))
            for rank, found in enumerate(ranked, start=1)
        ]

    def _number(self, product_id: str) -> int:
        known, wanted = self._products.number_of, tidy_id(product_id)
        if wanted not in known:
            raise UnknownProductError(product_id, self._nearest(product_id))
        return known[wanted]

    def _nearest(self, product_id: str) -> list[str]:
        from rapidfuzz.process import extract

        found = extract(tidy_id(product_id), self._products.number_of.keys(), limit=3, score_cutoff=LEAST_LIKENESS)
        return [name for name, _, _ in found]


def _hint(nearest: list[str]) -> str:
    return f" The nearest ids: {', '.join(nearest)}." if nearest else ""
