"""Questions to a finished pipeline: what is similar to this product, or to this photo, and what is in the catalogue."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from marketplace.catalogue_map.places import read_map
from marketplace.common.errors import MarketplaceError
from marketplace.compute.arrays import ShardedArray
from marketplace.recommendation.catalogue import read_catalogue, read_texts
from marketplace.recommendation.filters import FilteredTable, Filters
from marketplace.recommendation.fingerprints import (
    IDENTITY_INDEX,
    RECOMMENDATIONS,
    SIMILAR_INDEX,
    TABLES,
    check_fingerprints,
    origin_of,
)
from marketplace.recommendation.products import Product
from marketplace.recommendation.ranking import (
    IndexSearch,
    RankedProduct,
    Restriction,
    Search,
    nearest_products,
    top_products,
)
from marketplace.serving import qdrant
from marketplace.serving.answers import BusyError, Heat, Order, Place, SimilarProduct
from marketplace.serving.explanation import Explanation, explain, heat
from marketplace.serving.feedback import FEEDBACK, Feedback
from marketplace.serving.ids import Ids
from marketplace.serving.models import Models
from marketplace.serving.names import NameSearch

if TYPE_CHECKING:
    from marketplace.serving.photos import Photos
    from marketplace.serving.words import WordSearch

REASONS = {
    "empty": "the file is empty",
    "not_an_image": "it is not an image (JPEG, PNG, WebP, AVIF, GIF, BMP and TIFF can be read)",
    "too_large": "it has more pixels than any photo",
    "too_many_scans": "decoding it would take too long",
    "truncated": "it ends too early",
    "damaged": "it is damaged",
}


ANY = Filters()
MOST_WAITING = 16  # photos that wait to be looked at, each with a thread
MOST_DECODING = 650_000_000  # bytes, of a photo that is asked about: 160 megapixels as PNG, far more as JPEG
NAMED = 0.3  # added to the score of a product whose id, category or place is what was searched for
LEAST_OF_ID = 4  # characters of an id that is searched for
LEAST_WORD_SCORE = 0.3  # of a product that has anything to do with the words, by looking at searches


class Recommender:
    """The catalogue, its indexes and the models of a pipeline that has run in `root`.

    Indexes and models are read when a question needs them, or by `load` and `load_models`: a command asks one question.
    Each raises MarketplaceError if it is missing, or from another run than the tables.
    """

    def __init__(self, root: Path) -> None:
        recommendations = root / RECOMMENDATIONS
        if not recommendations.exists():
            raise MarketplaceError(f"{recommendations} is missing: run `dvc repro` first, or `dvc pull` to get it.")
        self._root = root
        origin = origin_of(recommendations)
        self._weight = origin.words
        self._close_from = origin.close
        check_fingerprints(root, origin.made_with, TABLES)
        self._models = Models(root, origin.made_with)
        self._similar: Search
        self._identity: Search
        url = qdrant.url_from_environment()
        if url:
            self._photos, self._products, self._texts = read_texts(root, check_models=False)
            self._similar, self._identity = qdrant.searches(url, self._products, origin.made_with)
        else:
            catalogue = read_catalogue(root, check_models=False)
            self._photos, self._products, self._texts = catalogue.photos, catalogue.products, catalogue.texts
            vectors = catalogue.similar(self._weight)
            self._similar = IndexSearch(lambda: self._models.index(SIMILAR_INDEX), vectors, self._products)
            self._identity = IndexSearch(lambda: self._models.index(IDENTITY_INDEX), catalogue.identity, self._products)
        self.ids = Ids(self._products.number_of)
        self.filtered = FilteredTable(self._products.table)
        self._feedback = Feedback(root / FEEDBACK)
        # A page asks several times about the same words.
        self._question = lru_cache(maxsize=256)(lambda words: self._models.text([words])[0])
        self._square_size = ShardedArray(root / "data/resized/full").shape[1]
        # A photo keeps all cores busy, and may take a gigabyte to decode: two at once would take longer than two.
        self._one_at_a_time = threading.Lock()
        self._room = threading.BoundedSemaphore(MOST_WAITING)

    def load(self) -> None:
        """Read all that a page of products needs, and check the models, for which `load_models` takes a second more."""
        self._models.check()
        _ = self._words, self._names, self.photos
        for search in (self._similar, self._identity):
            if isinstance(search, IndexSearch):
                _ = search.index

    def load_models(self) -> None:
        """Read the models now: a server must not answer with one that came after its vectors."""
        _ = self._models.image, self._models.text

    @cached_property
    def _words(self) -> "WordSearch":
        from marketplace.serving.words import WordSearch

        return WordSearch(self._texts)

    @cached_property
    def _names(self) -> NameSearch:
        return NameSearch(self._products.table)

    def product(self, product_id: str) -> Product:
        """A product by its id. Raises UnknownProductError."""
        return self._products.product(self.ids.number(product_id))

    def product_or_none(self, product_id: str) -> Product | None:
        """The same; None if there is no such product."""
        return self.product(product_id) if product_id in self.ids else None

    def find(self, words: str, filters: Filters, order: Order = "relevance") -> np.ndarray:
        """The numbers `(n,)` of the products that pass, in order.

        Without words, all products that pass, ordered by id; with words, those that have something to do with them by
        title, description, category, place or id, the closest first. Ordered by price, those without one come last.
        """
        passing = self.filtered.passing(filters)
        numbers = np.flatnonzero(passing)
        if words.strip():
            numbers = self._matching(words, passing)
        if order != "relevance":
            price = self.filtered.price[numbers]
            numbers = numbers[np.argsort(price if order == "cheapest" else -price, kind="stable")]  # NaN is last
        return numbers

    def _matching(self, words: str, passing: np.ndarray) -> np.ndarray:
        """The numbers of the products in `passing` `(P,) bool` that have to do with the words, the closest first."""
        question, named = self._question(words), self._names.named(words)
        if len(words.strip()) >= LEAST_OF_ID:
            named[[self.ids.number(product_id) for product_id in self.ids.beginning_with(words)]] = True
        numbers, scores = self._words.scores(question, passing)
        others = np.setdiff1d(np.flatnonzero(named & passing), numbers, assume_unique=True)
        numbers = np.concatenate([numbers, others])
        scores = np.concatenate([scores, self._texts[others] @ question]) + NAMED * named[numbers]
        best = np.argsort(-scores, kind="stable")
        found: np.ndarray = numbers[best[scores[best] >= LEAST_WORD_SCORE]]
        return found

    def products(self, numbers: np.ndarray) -> list[Product]:
        """The products with these numbers."""
        return [self._products.product(int(number)) for number in numbers]

    def similar_to_product(self, product_id: str, k: int, filters: Filters = ANY) -> list[SimilarProduct]:
        """The `k` most similar other products, by photos and words. Raises UnknownProductError."""
        number = self.ids.number(product_id)
        passing = self.filtered.passing(filters)
        passing[number] = False
        question = self._similar.vectors_of(self._products.photos_of(number))
        restriction = Restriction(passing=passing, filters=filters, excluded=[number])
        ranked = nearest_products(self._products, self._similar, question, k, restriction, np.array([number]))
        return self._shown(ranked, self._close_from)

    def explanation(self, product_id: str, other_id: str) -> Explanation:
        """Why one product is similar to another. Raises UnknownProductError."""
        pair = self.ids.number(product_id), self.ids.number(other_id)
        return explain(self._products, self._similar, self._weight, self._texts.shape[1], pair)

    def heat(self, product_id: str, other_id: str) -> Heat:
        """Where the photos that make two products similar are alike. Raises UnknownProductError, BusyError."""
        why = self.explanation(product_id, other_id)
        squares = ShardedArray(self._root / "data/resized/full")
        image_ids = self._products.image_ids
        rows = [int(np.argmax(image_ids == image_id)) for image_id in (why.image_id, why.similar_image_id)]
        with self._looking():
            _, kinds, maps = self._models.image(np.stack([squares[row] for row in rows]))
        image, similar_image = heat(maps, kinds).round(3).tolist()
        return Heat(image, similar_image)

    def places(self, filters: Filters = ANY) -> list[Place]:
        """The map of the catalogue. Raises MarketplaceError if the pipeline has not drawn it."""
        passing, categories = self.filtered.passing(filters), self._products.categories
        found = []
        for product_id, x, y in read_map(self._root).itertuples(index=False):
            number = self._products.number_of.get(product_id)
            if number is None or not passing[number]:
                continue
            product = self._products.product(number)
            category = str(categories[number])
            found.append(Place(product_id, product.name, category, product.image_ids[0], round(x, 4), round(y, 4)))
        return found

    def give_feedback(self, product_id: str, other_id: str, good: bool | None) -> None:
        """Keep a thumb on a recommendation, or take it back. Raises UnknownProductError."""
        known = [self._products.product(self.ids.number(one)).product_id for one in (product_id, other_id)]
        self._feedback.give(known[0], known[1], good)

    def feedback_on(self, product_id: str) -> dict[str, bool]:
        """The products that got a thumb as recommendations for a product. Raises UnknownProductError."""
        product_id = self._products.product(self.ids.number(product_id)).product_id
        return {thumb.similar_product_id: thumb.good for thumb in self._feedback.thumbs(product_id)}

    def similar_to_photo(self, content: bytes, k: int, filters: Filters = ANY) -> list[SimilarProduct]:
        """The `k` products most likely to be in a photo, given as bytes. Raises MarketplaceError if it is not one."""
        with self._looking():
            vector = self._models.image(self.square(content)[None])[0]
        copies = np.flatnonzero(self._photos["sha256"] == hashlib.sha256(content).hexdigest())
        asked = np.unique(self._products.product_of_row[copies])
        question = np.hstack([vector, np.ones((1, 1), np.float32)])
        restriction = Restriction(passing=self.filtered.passing(filters), filters=filters)
        ranked = nearest_products(self._products, self._identity, question, k, restriction, asked)
        return self._shown([self._with_cosine(found, vector[0]) for found in ranked])

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """The turn of a question that runs the image model. Raises BusyError if too many wait for theirs."""
        if not self._room.acquire(blocking=False):
            raise BusyError("too many photos are waiting to be looked at: try again in a few seconds.")
        try:
            with self._one_at_a_time:
                yield
        finally:
            self._room.release()

    @property
    def busy(self) -> bool:
        """True while no other question about a photo would be taken."""
        free = self._room.acquire(blocking=False)
        if free:
            self._room.release()
        return not free

    def similar_to_words(self, words: str, k: int, filters: Filters = ANY) -> list[SimilarProduct]:
        """The `k` products whose texts are closest to some words, by meaning and by spelling."""
        numbers, scores = self._words.scores(self._question(words), self.filtered.passing(filters))
        return self._shown(top_products(self._products, numbers, scores, k))

    def square(self, content: bytes) -> np.ndarray:
        """A photo as the model sees it, `(S, S, 3) uint8`. Raises MarketplaceError if the bytes are not a photo."""
        from marketplace.photos.codec import UnreadableImageError, decode_array
        from marketplace.photos.squares import OVERSAMPLING, letterbox_without_torch

        size = self._square_size
        try:
            return letterbox_without_torch(decode_array(content, OVERSAMPLING * size, MOST_DECODING), size)
        except UnreadableImageError as error:
            raise MarketplaceError(f"the photo cannot be read: {REASONS[error.reason]}.") from None

    @cached_property
    def photos(self) -> "Photos":
        """The photos of the catalogue."""
        from marketplace.serving.photos import Photos

        return Photos(self._root, self._photos)

    def _with_cosine(self, found: RankedProduct, vector: np.ndarray) -> RankedProduct:
        """The same with the cosine of the most similar photo as its score: what hubs subtract is only for the order."""
        cosines = self._identity.vectors_of(self._products.photos_of(found.number))[:, :-1] @ vector
        return replace(found, score=float(cosines.max()))

    def _shown(self, ranked: list[RankedProduct], close_from: float | None = None) -> list[SimilarProduct]:
        return [
            SimilarProduct(
                rank,
                found.score,
                found.same_photo,
                found.same_text,
                None if close_from is None else found.score >= close_from or found.same_photo or found.same_text,
                str(self._products.image_ids[found.row]),
                self._products.product(found.number),
            )
            for rank, found in enumerate(ranked, start=1)
        ]
