"""Questions to a finished pipeline: products similar to a product, a photo or words, and the catalogue itself."""

from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from marketplace.common.damage import read_parquet
from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.filters import FilteredTable, Filters
from marketplace.recommendation.fingerprints import RECOMMENDATIONS, TRAINING_DATA, check_fingerprints
from marketplace.recommendation.origin import origin_of
from marketplace.recommendation.products import Product, products_of
from marketplace.recommendation.ranking import IndexSearch, Restriction
from marketplace.recommendation.similarity import Weights
from marketplace.relevance.judgements import JUDGEMENTS
from marketplace.serving import qdrant
from marketplace.serving.answerer import Answerer
from marketplace.serving.answers import Answer, BusyError, Heat, MapLegend, Order, Place, SimilarProduct
from marketplace.serving.explanation import Explanation, compute_heat, explain, place_in_photo
from marketplace.serving.feedback import FEEDBACK, Feedback
from marketplace.serving.ids import Ids
from marketplace.serving.judging import Judging
from marketplace.serving.matching import Matcher
from marketplace.serving.models import Models, open_similar, open_vectors
from marketplace.serving.orders import highest_usual_price, order_by_price
from marketplace.serving.photo_queue import PhotoQueue
from marketplace.serving.places import describe_map, read_places
from marketplace.serving.product_parts import ProductParts
from marketplace.serving.question import NO_FILTERS, Photo, Question

if TYPE_CHECKING:  # imported where they are needed, so that `marketplace similar` is fast
    from marketplace.serving.photos import CataloguePhotos
    from marketplace.serving.search import CatalogueSearch

ORIGINALS = "data/raw/images"
PHOTO_COLUMNS = ["image_id", "shard", "file", "sha256"]  # of the training data, in a table of the photos
QUEUE_CAPACITY = 16  # photos, each with a thread


class Recommender:
    """The catalogue, indexes and models of a pipeline that has run in `root`.

    Indexes, models and squares are read when a question needs them, since a command asks only one; `load` and
    `load_models` read all of them. Raises MarketplaceError if a file is missing or from another run than the tables.
    """

    def __init__(self, root: Path) -> None:
        recommendations = root / RECOMMENDATIONS
        if not recommendations.exists():
            raise MarketplaceError(f"{recommendations} is missing: run `dvc repro` first, or `dvc pull` to get it.")
        self._root = root
        origin = origin_of(recommendations)
        self._origin = origin
        self.settings = origin.settings
        self._made_with = origin.made_with
        check_fingerprints(root, origin.made_with, [TRAINING_DATA])
        self._models = Models(root, origin.made_with)
        training_data = read_parquet(root / TRAINING_DATA)
        self._photos = training_data[PHOTO_COLUMNS].copy()  # the others repeat the product's
        self._products = products_of(training_data)
        del training_data
        pa.default_memory_pool().release_unused()  # it would keep as much again as the tables take
        similar = open_similar(self._models, self._products)
        self._parts = ProductParts(similar, dict(origin.dimensions))
        url = qdrant.url_from_environment()
        if url:
            self._vectors = qdrant.open_vectors(url, self._products, origin.made_with)
        else:
            self._vectors = open_vectors(self._models, self._products, similar)
        self._matcher = Matcher(self._products, self._parts, self._vectors, origin.settings)
        self.ids = Ids(self._products.number_of)
        self.table = FilteredTable(self._products.table)
        self.queue = PhotoQueue(QUEUE_CAPACITY)
        self.feedback = Feedback(root / FEEDBACK)
        # The page sends the same words several times.
        self._embed = lru_cache(maxsize=256)(lambda words: self._models.text.embed_words([words]))
        self._unready: str | None = None  # why some questions cannot be answered yet

    def load(self) -> None:
        """Read everything but the models, so that no question reads a file that belongs to no run.

        Models are only checked: reading them takes another second.
        """
        self._models.check()
        _ = self.search
        _ = self.photos
        _ = self.judging.earlier_grades
        _ = self._places
        _ = self._models.kinds
        for search in (self._parts.index, self._vectors.similar, self._vectors.identity):
            if isinstance(search, IndexSearch):
                _ = search.index

    def load_models(self) -> None:
        """Read the models now, and ask a question of each kind; `check_ready` raises an error until it is answered.

        A server must not answer with models that are newer than its vectors.
        """
        self._unready = "the models are still being read."
        try:
            product = self._products.product(0)
            self.find("words", NO_FILTERS)
            self.ask(Question(words="words", k=1))
            self.ask(Question(photo=Photo(self.photos.jpeg(product.image_ids[0], 1)), k=1))
            self.heat(product.product_id, product.product_id)
        except BaseException:
            self._unready = "some questions cannot be answered: the server's log says why."
            raise
        self._unready = None

    def check_ready(self) -> None:
        """Raise UnavailableError unless every kind of question can be answered now."""
        if self._unready is not None:
            raise BusyError(self._unready)
        if self.queue.full:
            raise BusyError("too many photos are queued.")
        self._vectors.check()

    @cached_property
    def search(self) -> "CatalogueSearch":
        """The search by words."""
        from marketplace.serving.search import CatalogueSearch

        return CatalogueSearch(
            products=self._products,
            ids=self.ids,
            parts=self._parts,
            similar=self._vectors.similar,
            settings=self.settings,
        )

    @cached_property
    def judging(self) -> Judging:
        """The products to judge, with their candidates."""
        return Judging(self._products, self.similar_to_product, self.feedback, self._root / JUDGEMENTS)

    @cached_property
    def photos(self) -> "CataloguePhotos":
        """The photos of the catalogue."""
        from marketplace.serving.photos import CataloguePhotos

        return CataloguePhotos(self._photos, self._root / ORIGINALS, self._models.squares)

    @cached_property
    def _highest_usual_price(self) -> float:
        return highest_usual_price(self.table.price)

    @cached_property
    def _places(self) -> dict[int, Place]:
        """The places on the map by the numbers of products."""
        return read_places(self._root, self._made_with, self._products)

    @cached_property
    def map_legend(self) -> MapLegend:
        """The categories and the groups on the map."""
        return describe_map(self._places, self._products)

    def product(self, product_id: str) -> Product:
        """Return a product by its id. Raises UnknownProductError."""
        return self._products.product(self.ids.number(product_id))

    def product_or_none(self, product_id: str) -> Product | None:
        """Return a product by its id; None if there is no such product."""
        return self.product(product_id) if product_id in self.ids else None

    def products(self, numbers: np.ndarray) -> list[Product]:
        """Return the products with these numbers."""
        return [self._products.product(int(number)) for number in numbers]

    def find(self, words: str, filters: Filters, order: Order = "relevance") -> np.ndarray:
        """Return the numbers `(n,)` of the products that pass the filters and match the words, in order.

        Words match a title, description, category, place or id; the best match comes first. No product is returned
        that has a word with a minus. Without other words, all products that pass match, in the order of their ids. In
        an order by price, see `order_by_price`.
        """
        restriction = self._restrict(filters)
        wanted = ""
        if words.strip():
            wanted, restriction = self.search.leave_out_unwanted(words, restriction)
        if wanted:
            numbers = self.search.find(wanted, self._embed_words, restriction).numbers
        else:
            numbers = np.flatnonzero(restriction.passing)
        if order != "relevance":
            numbers = numbers[order_by_price(self.table.price[numbers], order, self._highest_usual_price)]
        return numbers

    def similar_to_product(
        self, product_id: str, k: int, filters: Filters = NO_FILTERS, weights: Weights | None = None
    ) -> list[SimilarProduct]:
        """Return the `k` most similar other products; see `ask`. Raises UnknownProductError."""
        return self.ask(Question(like=(product_id,), k=k, filters=filters, weights=weights)).similar

    def ask(self, question: Question) -> Answer:
        """Answer a question about products, a photo and words; see answerer.py.

        For words alone, the answer has the first products that `find` returns, of listings that share a photo or a
        title only one. A score is the weighted sum of the similarities of kind, text, title and path; where words find
        products, plus the bonus for the words that a listing has (see Hits). Nothing is known of the probabilities of
        scores if the question brings its own weights or combines several things. Raises UnknownProductError,
        InvalidQuestionError, BusyError and UnavailableError.
        """
        return self._answerer.answer(question)

    @cached_property
    def _answerer(self) -> Answerer:
        return Answerer(
            products=self._products,
            photos=self._photos,
            table=self.table,
            ids=self.ids,
            matcher=self._matcher,
            models=self._models,
            queue=self.queue,
            origin=self._origin,
            open_search=lambda: self.search,
            embed=self._embed_words,
        )

    def _embed_words(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        return self._embed(texts[0])

    def _restrict(self, filters: Filters) -> Restriction:
        return Restriction(passing=self.table.passing(filters), filters=filters)

    def explanation(self, product_id: str, other_id: str, weights: Weights | None = None) -> Explanation:
        """Explain why two products are similar. Raises UnknownProductError."""
        return explain(
            products=self._products,
            vectors=self._vectors,
            dimensions=self._parts.dimensions,
            weights=weights or self.settings.weights.product,
            number=self.ids.number(product_id),
            other=self.ids.number(other_id),
            frequency_of=self.search.frequency_of,
        )

    def heat(self, product_id: str, other_id: str) -> Heat:
        """Return the regions that the most similar photos of two products share.

        Raises UnknownProductError, BusyError.
        """
        explanation = self.explanation(product_id, other_id)
        image_ids = self._products.image_ids
        pair = (explanation.image_id, explanation.similar_image_id)
        rows = [int(np.argmax(image_ids == image_id)) for image_id in pair]
        with self.queue.turn():
            embedded = self._models.image(self._models.squares[rows])
        image, similar_image = compute_heat(embedded.kind_map, embedded.kind)
        return Heat(
            image=image.round(3).tolist(),
            similar_image=similar_image.round(3).tolist(),
            place=place_in_photo(similar_image),
        )

    def places(self, filters: Filters = NO_FILTERS) -> list[Place]:
        """Return the map of the catalogue. Raises MarketplaceError if the pipeline has not made it."""
        passing = self.table.passing(filters)
        return [place for number, place in self._places.items() if passing[number]]

    def give_feedback(self, product_id: str, other_id: str, good: bool | None) -> None:
        """Store a thumb on a recommendation; None removes it. Raises UnknownProductError."""
        self.feedback.give(self.product(product_id).product_id, self.product(other_id).product_id, good)

    def feedback_on(self, product_id: str) -> dict[str, bool]:
        """Return the thumbs on the recommendations for a product, by product id. Raises UnknownProductError."""
        thumbs = self.feedback.thumbs(self.product(product_id).product_id)
        return {thumb.similar_product_id: thumb.good for thumb in thumbs}

    def give_grade(self, product_id: str, other_id: str, grade: int) -> None:
        """Store the grade of a product as a candidate for another. Raises UnknownProductError."""
        self.feedback.give_grade(self.product(product_id).product_id, self.product(other_id).product_id, grade)
