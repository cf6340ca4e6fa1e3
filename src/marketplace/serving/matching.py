"""The products that match a product, a photo or words, and the photo to show of each."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from marketplace.recommendation.diversity import DIVERSITY_POOL, diversify
from marketplace.recommendation.filters import Filters
from marketplace.recommendation.lookalikes import LOOKS, add_lookalikes
from marketplace.recommendation.products import Products
from marketplace.recommendation.questions import photo_questions
from marketplace.recommendation.ranking import (
    RankedProduct,
    Restriction,
    Search,
    most_similar_pair,
    nearest_products,
    top_k_distinct,
)
from marketplace.recommendation.rules import RecommendSettings
from marketplace.recommendation.similarity import PARTS, Parts, Weights, weigh, weigh_symmetrically
from marketplace.vectors.tables import TextVectors

if TYPE_CHECKING:  # imported where a model is read, so that questions without one are fast
    from marketplace.embedding.onnx import Embedded
    from marketplace.serving.search import Found


@dataclass(frozen=True)
class VectorStore:
    """The vectors of a catalogue, in memory or in a database."""

    similar: Search  # its rows are products, its vectors their parts side by side
    identity: Search  # its rows are photos
    kinds_of: Callable[[np.ndarray], np.ndarray]  # the kind vectors of photos by their rows
    kind_dimensions: int
    check: Callable[[], None]  # raises UnavailableError if the database does not answer

    def identities_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the identity vectors `(n, d)` of photos by their rows."""
        return self.identity.vectors_of(rows)[:, :-1]  # the last value is the hub bias


@dataclass(frozen=True)
class Match:
    """A product that matches a question."""

    product: RankedProduct
    row: int  # of the training data: the photo to show
    cosine: float = 0.0  # of that photo with the nearest photo of the question, if it has photos


class Matcher:
    """Ranks the products of a catalogue for questions. `texts` are in the order of `products`."""

    def __init__(
        self, products: Products, texts: TextVectors, vectors: VectorStore, settings: RecommendSettings
    ) -> None:
        self._products = products
        self._texts = texts
        self._vectors = vectors
        self._settings = settings
        of_texts = {name: getattr(texts, name).shape[1] for name in PARTS if name != "kind"}
        self.dimensions = {"kind": vectors.kind_dimensions, **of_texts}  # of the parts of a vector

    def match_product(
        self, number: int, k: int, restriction: Restriction, weights: Weights | None = None
    ) -> list[Match]:
        """Return the products most similar to a product, each with the photo most similar to one of its photos."""
        parts = self._vectors.similar.vectors_of(np.array([number]))
        if not len(parts):  # a database no longer has them
            return []
        weights = weights or self._settings.weights.product
        depth = DIVERSITY_POOL * k if self._settings.diversity else k
        question = weigh(parts[0], self.dimensions, weights)
        ranked = self._nearest(question, depth, restriction, np.array([number]))
        kinds = self._vectors.kinds_of(self._products.photos_of(number))
        diverse = self._diversify(ranked, weights)[:k]
        return self._choose_photos(diverse, kinds, self._vectors.kinds_of)

    def match_photo(
        self,
        embedded: "Embedded",
        copies: np.ndarray,
        k: int,
        restriction: Restriction,
        weights: Weights | None = None,
    ) -> list[Match]:
        """Return the products that a photo shows, then those most similar to it.

        `copies` are the numbers of the products that have the very same file. The score of a product that the photo
        shows is the cosine of identity vectors; hub biases only affect the order.
        """
        question = np.append(embedded.identity[0], np.float32(1))
        nearest = nearest_products(self._products, self._vectors.identity, question, k, restriction, copies)
        shown = [
            replace(match, product=replace(match.product, score=match.cosine))
            for match in self._choose_photos(nearest, embedded.identity, self._vectors.identities_of)
            if match.product.same_photo or match.cosine >= self._settings.same_product_cosine
        ]
        numbers = np.array([match.product.number for match in shown], dtype=np.int64)
        is_shown = np.isin(self._products.groups, self._products.groups[numbers])
        others = Restriction(
            passing=restriction.passing & ~is_shown,
            filters=restriction.filters,
            excluded=np.flatnonzero(is_shown).tolist(),
        )
        parts = self._ask_about_photo(embedded)
        question = weigh(parts.join(), self.dimensions, weights or self._settings.weights.photo)[0]
        similar = self._nearest(question, k - len(shown), others, numbers) if len(shown) < k else []
        return [*shown, *self._choose_photos(similar, embedded.identity, self._vectors.identities_of)]

    def _ask_about_photo(self, embedded: "Embedded") -> Parts:
        parts = photo_questions(embedded.kind, embedded.title, embedded.path, self.dimensions["text"])
        settings = self._settings.lookalikes
        everything = Restriction(passing=np.ones(len(self._products.table), dtype=bool), filters=Filters())
        looks = weigh(parts.join(), self.dimensions, LOOKS)[0]
        nearest = self._vectors.similar.nearest(looks, everything, settings.count)
        return add_lookalikes(parts, self._texts, nearest.numbers, nearest.scores, settings)

    def match_words(self, found: "Found", k: int) -> list[Match]:
        """Return the first `k` products that words found, one of each group, each with its first photo."""
        products = self._products
        chosen = top_k_distinct(found.scores, products.groups[found.numbers], k)
        return [
            Match(
                product=RankedProduct(
                    number=int(found.numbers[place]),
                    score=float(found.scores[place]),
                    same_photo=False,
                    same_text=False,
                ),
                row=int(products.photos_of(found.numbers[place])[0]),
            )
            for place in chosen.tolist()
        ]

    def _nearest(
        self, question: np.ndarray, k: int, restriction: Restriction, query_products: np.ndarray
    ) -> list[RankedProduct]:
        return nearest_products(self._products, self._vectors.similar, question, k, restriction, query_products)

    def _diversify(self, ranked: list[RankedProduct], weights: Weights) -> list[RankedProduct]:
        """Return ranked products in the order by `recommend.diversity`."""
        if not self._settings.diversity or not ranked:
            return ranked
        vectors = self._vectors.similar.vectors_of(np.array([product.number for product in ranked]))
        scores = np.array([product.score for product in ranked], dtype=np.float32)
        own_vectors = weigh_symmetrically(vectors, self.dimensions, weights)
        order = diversify(scores, own_vectors, self._settings.diversity)
        return [ranked[place] for place in order.tolist()]

    def _choose_photos(
        self, ranked: list[RankedProduct], question: np.ndarray, vectors_of: Callable[[np.ndarray], np.ndarray]
    ) -> list[Match]:
        """Choose the photo of each product that is most similar to one of the photos of a question `(n, d)`."""
        rows_of = [self._products.photos_of(product.number) for product in ranked]
        matches = []
        for product, rows, vectors in zip(ranked, rows_of, _vectors_by_product(rows_of, vectors_of), strict=True):
            if len(vectors) and len(question):
                _, place, cosine = most_similar_pair(question, vectors)
                matches.append(Match(product=product, row=int(rows[place]), cosine=cosine))
            else:
                matches.append(Match(product=product, row=int(rows[0])))
        return matches


def _vectors_by_product(rows_of: list[np.ndarray], vectors_of: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
    """Return the vectors of the photos of each product, in one request unless a database lacks some of them."""
    if not rows_of:
        return []
    rows = np.concatenate(rows_of)
    vectors = vectors_of(rows)
    if len(vectors) < len(rows):
        return [vectors_of(own_rows) for own_rows in rows_of]
    return np.split(vectors, np.cumsum([len(own_rows) for own_rows in rows_of[:-1]]))
