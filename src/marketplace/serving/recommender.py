"""Questions to a finished pipeline: products similar to a product, a photo or words, and the catalogue itself."""

import hashlib
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
from marketplace.serving.answers import Heat, Order, Place, SimilarProduct
from marketplace.serving.explanation import Explanation, compute_heat, explain
from marketplace.serving.feedback import FEEDBACK, Feedback
from marketplace.serving.ids import Ids
from marketplace.serving.models import Models
from marketplace.serving.photo_queue import PhotoQueue

if TYPE_CHECKING:  # imported where they are needed, so that `marketplace similar` is fast
    from marketplace.serving.photos import CataloguePhotos
    from marketplace.serving.search import CatalogueSearch

ORIGINALS = "data/raw/images"
SQUARES = "data/resized/full"
NO_FILTERS = Filters()
QUEUE_CAPACITY = 16  # photos, each with a thread
MAX_DECODING_BYTES = 650_000_000  # for a photo in a question: 160 megapixels as PNG, far more as JPEG
UNREADABLE_REASONS = {
    "empty": "the file is empty",
    "not_an_image": "it is not an image (JPEG, PNG, WebP, AVIF, GIF, BMP and TIFF can be read)",
    "too_large": "it has too many pixels",
    "too_many_scans": "decoding it would take too long",
    "truncated": "it ends too early",
    "damaged": "it is damaged",
}


class Recommender:
    """The catalogue, indexes and models of a pipeline that has run in `root`.

    Indexes and models are read when a question needs them, since a command asks only one; `load` and `load_models` read
    all of them. Raises MarketplaceError if a file is missing or from another run than the tables.
    """

    def __init__(self, root: Path) -> None:
        recommendations = root / RECOMMENDATIONS
        if not recommendations.exists():
            raise MarketplaceError(f"{recommendations} is missing: run `dvc repro` first, or `dvc pull` to get it.")
        self._root = root
        origin = origin_of(recommendations)
        self._words_weight = origin.words
        self._close_from = origin.close
        check_fingerprints(root, origin.made_with, TABLES)
        self._models = Models(root, origin.made_with)
        self._similar: Search
        self._identity: Search
        url = qdrant.url_from_environment()
        if url:
            self._photos, self._products, self._texts = read_texts(root, check_models=False)
            self._similar, self._identity = qdrant.open_searches(url, self._products, origin.made_with)
        else:
            catalogue = read_catalogue(root, check_models=False)
            self._photos = catalogue.photos
            self._products = catalogue.products
            self._texts = catalogue.texts
            vectors = catalogue.similar(self._words_weight)
            self._similar = IndexSearch(lambda: self._models.index(SIMILAR_INDEX), vectors, self._products)
            self._identity = IndexSearch(lambda: self._models.index(IDENTITY_INDEX), catalogue.identity, self._products)
        self.ids = Ids(self._products.number_of)
        self.table = FilteredTable(self._products.table)
        self.queue = PhotoQueue(QUEUE_CAPACITY)
        self._feedback = Feedback(root / FEEDBACK)
        # The page sends the same words several times.
        self._embed_words = lru_cache(maxsize=256)(lambda words: self._models.text([words])[0])
        self._square_size = ShardedArray(root / SQUARES).shape[1]

    def load(self) -> None:
        """Read everything that a page of products needs. Models are only checked: reading them takes another second."""
        self._models.check()
        _ = self._search
        _ = self.photos
        for search in (self._similar, self._identity):
            if isinstance(search, IndexSearch):
                _ = search.index

    def load_models(self) -> None:
        """Read the models now: a server must not answer with models that are newer than its vectors."""
        _ = self._models.image
        _ = self._models.text

    @cached_property
    def _search(self) -> "CatalogueSearch":
        from marketplace.serving.search import CatalogueSearch

        return CatalogueSearch(self._products, self.ids, self._texts, self._embed_words)

    @cached_property
    def photos(self) -> "CataloguePhotos":
        """The photos of the catalogue."""
        from marketplace.serving.photos import CataloguePhotos

        return CataloguePhotos(self._photos, self._root / ORIGINALS, ShardedArray(self._root / SQUARES))

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

        Words match a title, description, category, place or id; the best match comes first. Without words, all products
        that pass match, in the order of their ids. In an order by price, products without a price come last.
        """
        passing = self.table.passing(filters)
        numbers = self._search.find(words, passing) if words.strip() else np.flatnonzero(passing)
        if order != "relevance":
            price = self.table.price[numbers]
            numbers = numbers[np.argsort(price if order == "cheapest" else -price, kind="stable")]  # NaN comes last
        return numbers

    def similar_to_product(self, product_id: str, k: int, filters: Filters = NO_FILTERS) -> list[SimilarProduct]:
        """Return the `k` most similar other products, by photos and words. Raises UnknownProductError.

        A score is the weighted mean of the cosines of the most similar photos and of the texts.
        """
        number = self.ids.number(product_id)
        passing = self.table.passing(filters)
        passing[number] = False
        vectors = self._similar.vectors_of(self._products.photos_of(number))
        restriction = Restriction(passing=passing, filters=filters, excluded=[number])
        ranked = nearest_products(self._products, self._similar, vectors, k, restriction, np.array([number]))
        return self._answer(ranked, self._close_from)

    def similar_to_photo(self, content: bytes, k: int, filters: Filters = NO_FILTERS) -> list[SimilarProduct]:
        """Return the `k` products that most likely are in a photo, given as the bytes of a file.

        A score is the cosine with the product's most similar photo. Raises MarketplaceError if the bytes are not a
        photo, BusyError.
        """
        with self.queue.turn():
            identity, _, _ = self._models.image(self.square(content)[None])
        copies = np.flatnonzero(self._photos["sha256"] == hashlib.sha256(content).hexdigest())
        query_products = np.unique(self._products.product_of_row[copies])
        vectors = np.hstack([identity, np.ones((1, 1), np.float32)])
        restriction = Restriction(passing=self.table.passing(filters), filters=filters)
        ranked = nearest_products(self._products, self._identity, vectors, k, restriction, query_products)
        return self._answer([self._with_cosine(product, identity[0]) for product in ranked])

    def similar_to_words(self, words: str, k: int, filters: Filters = NO_FILTERS) -> list[SimilarProduct]:
        """Return the `k` products whose texts are closest to words, in meaning and spelling.

        A score is the cosine of the text vectors.
        """
        numbers, scores = self._search.scores(words, self.table.passing(filters))
        return self._answer(top_products(self._products, numbers, scores, k))

    def explanation(self, product_id: str, other_id: str) -> Explanation:
        """Explain why two products are similar. Raises UnknownProductError."""
        number = self.ids.number(product_id)
        other = self.ids.number(other_id)
        return explain(self._products, self._similar, self._words_weight, self._texts.shape[1], number, other)

    def heat(self, product_id: str, other_id: str) -> Heat:
        """Return the regions that the most similar photos of two products share.

        Raises UnknownProductError, BusyError.
        """
        explanation = self.explanation(product_id, other_id)
        squares = ShardedArray(self._root / SQUARES)
        image_ids = self._products.image_ids
        pair = (explanation.image_id, explanation.similar_image_id)
        rows = [int(np.argmax(image_ids == image_id)) for image_id in pair]
        with self.queue.turn():
            _, kinds, kind_maps = self._models.image(np.stack([squares[row] for row in rows]))
        image, similar_image = compute_heat(kind_maps, kinds).round(3).tolist()
        return Heat(image=image, similar_image=similar_image)

    def places(self, filters: Filters = NO_FILTERS) -> list[Place]:
        """Return the map of the catalogue. Raises MarketplaceError if the pipeline has not made it."""
        passing = self.table.passing(filters)
        categories = self._products.categories
        places = []
        for product_id, x, y in read_map(self._root).itertuples(index=False):
            number = self._products.number_of.get(product_id)
            if number is None or not passing[number]:
                continue
            product = self._products.product(number)
            place = Place(
                product_id=product_id,
                name=product.name,
                category=str(categories[number]),
                image_id=product.image_ids[0],
                x=round(x, 4),
                y=round(y, 4),
            )
            places.append(place)
        return places

    def give_feedback(self, product_id: str, other_id: str, good: bool | None) -> None:
        """Store a thumb on a recommendation; None removes it. Raises UnknownProductError."""
        self._feedback.give(self.product(product_id).product_id, self.product(other_id).product_id, good)

    def feedback_on(self, product_id: str) -> dict[str, bool]:
        """Return the thumbs on the recommendations for a product, by product id. Raises UnknownProductError."""
        thumbs = self._feedback.thumbs(self.product(product_id).product_id)
        return {thumb.similar_product_id: thumb.good for thumb in thumbs}

    def square(self, content: bytes) -> np.ndarray:
        """Return a photo as the model sees it, `(S, S, 3) uint8`. Raises MarketplaceError if it is not a photo."""
        from marketplace.photos.codec import UnreadableImageError, decode_array
        from marketplace.photos.squares import OVERSAMPLING, letterbox_without_torch

        size = self._square_size
        try:
            return letterbox_without_torch(decode_array(content, OVERSAMPLING * size, MAX_DECODING_BYTES), size)
        except UnreadableImageError as error:
            raise MarketplaceError(f"the photo cannot be read: {UNREADABLE_REASONS[error.reason]}.") from None

    def _with_cosine(self, product: RankedProduct, identity: np.ndarray) -> RankedProduct:
        """Replace the score by the cosine of the most similar photo: hub biases only affect the order."""
        vectors = self._identity.vectors_of(self._products.photos_of(product.number))
        cosines = vectors[:, :-1] @ identity
        return replace(product, score=float(cosines.max()))

    def _answer(self, ranked: list[RankedProduct], close_from: float | None = None) -> list[SimilarProduct]:
        """Describe ranked products. A product is close from the score `close_from` up; None: unknown."""
        answer = []
        for rank, product in enumerate(ranked, start=1):
            close = None
            if close_from is not None:
                close = product.score >= close_from or product.same_photo or product.same_text
            similar = SimilarProduct(
                rank=rank,
                score=product.score,
                same_photo=product.same_photo,
                same_text=product.same_text,
                close=close,
                image_id=str(self._products.image_ids[product.row]),
                product=self._products.product(product.number),
            )
            answer.append(similar)
        return answer
