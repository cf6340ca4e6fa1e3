"""The products that match a product, a photo or words, and the photo to show of each."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from marketplace.recommendation.diversity import DIVERSITY_POOL, diversify
from marketplace.recommendation.lookalikes import LOOKS, add_lookalikes
from marketplace.recommendation.products import Products
from marketplace.recommendation.questions import photo_questions
from marketplace.recommendation.ranking import (
    BonusSearch,
    RankedProduct,
    Restriction,
    Search,
    allow_all,
    most_similar_pair,
    nearest_products,
    top_k_distinct,
)
from marketplace.recommendation.rules import RecommendSettings
from marketplace.recommendation.similarity import Weights, weigh, weigh_symmetrically
from marketplace.serving.product_parts import ProductParts

if TYPE_CHECKING:  # imported where a model is read, so that questions without one are fast
    from marketplace.embedding.onnx import Embedded
    from marketplace.serving.search import Found


@dataclass(frozen=True)
class VectorStore:
    """The vectors of a catalogue, in files or in a database."""

    similar: Search  # its rows are products, its vectors their parts side by side
    identity: Search  # its rows are photos
    kinds_of: Callable[[np.ndarray], np.ndarray]  # the kind vectors of photos by their rows
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


@dataclass(frozen=True)
class ShownPhotos:
    """The photos that a question shows, to choose the most similar photo of each product."""

    vectors: np.ndarray  # (n, d) float32
    vectors_of: Callable[[np.ndarray], np.ndarray]  # of the catalogue's photos by their rows, likewise `(m, d)`


@dataclass(frozen=True)
class Target:
    """What the products of a list should be similar to."""

    vector: np.ndarray  # (d,) float32, weighted parts side by side: inner products with it are scores
    examples: np.ndarray  # (n,) int, the numbers of the products that the question is about
    photos: ShownPhotos
    bonus_of: Callable[[np.ndarray], np.ndarray] | None  # see BonusSearch; None: no bonus


class Matcher:
    """Ranks the products of a catalogue for questions."""

    def __init__(
        self, products: Products, parts: ProductParts, vectors: VectorStore, settings: RecommendSettings
    ) -> None:
        self._products = products
        self._parts = parts
        self._vectors = vectors
        self._settings = settings
        self.dimensions = parts.dimensions

    def ask_about_products(self, numbers: np.ndarray, weights: Weights) -> np.ndarray:
        """Return the questions `(n, d)` that ask for products similar to each of some products.

        Products that a database lacks are left out.
        """
        parts = self._vectors.similar.vectors_of(numbers) if len(numbers) else numbers
        if not len(parts):
            return np.empty((0, sum(self.dimensions.values())), np.float32)
        return weigh(parts, self.dimensions, weights)

    def ask_about_photo(self, embedded: "Embedded", weights: Weights) -> np.ndarray:
        """Return the question `(d,)` that asks for products similar to a photo, with the words of its look-alikes."""
        parts = photo_questions(embedded.kind, embedded.title, embedded.path, self.dimensions["text"])
        settings = self._settings.lookalikes
        looks = weigh(parts.join(), self.dimensions, LOOKS)[0]
        nearest = self._vectors.similar.nearest(looks, allow_all(len(self._products.table)), settings.count)
        complete = add_lookalikes(parts, self._parts.of, nearest.numbers, nearest.scores, settings)
        return weigh(complete.join(), self.dimensions, weights)[0]

    def show_products(self, numbers: np.ndarray) -> ShownPhotos:
        """Return the photos of products, compared by kind."""
        rows = np.concatenate([self._products.photos_of(number) for number in numbers.tolist()])
        return ShownPhotos(vectors=self._vectors.kinds_of(rows), vectors_of=self._vectors.kinds_of)

    def show_photo(self, embedded: "Embedded") -> ShownPhotos:
        """Return a photo, compared by identity."""
        return ShownPhotos(vectors=embedded.identity, vectors_of=self._vectors.identities_of)

    def match(
        self, target: Target, k: int, restriction: Restriction, diversity: float, weights: Weights
    ) -> list[Match]:
        """Return the `k` products most similar to a target, each with its photo that is most similar to the question.

        `diversity` is as in params.yaml; `weights` compare the products of a list with each other.
        """
        search = self._vectors.similar
        if target.bonus_of is not None:
            search = BonusSearch(search, target.bonus_of)
        depth = DIVERSITY_POOL * k if diversity else k
        ranked = nearest_products(self._products, search, target.vector, depth, restriction, target.examples)
        diverse = self._diversify(ranked, diversity, weights)[:k]
        return self._choose_photos(diverse, target.photos)

    def match_same_item(
        self, embedded: "Embedded", copies: np.ndarray, k: int, restriction: Restriction, cosine: float
    ) -> list[Match]:
        """Return the products whose photos show the same item as a photo, the most certain first; often none.

        `copies` are the numbers of the products that have the very same file. Of the others, those with at least this
        `cosine` of identity vectors are said to show it, which is their score. Hub biases decide only which products
        are compared.
        """
        question = np.append(embedded.identity[0], np.float32(1))
        nearest = nearest_products(self._products, self._vectors.identity, question, k, restriction, copies)
        matches = [
            replace(match, product=replace(match.product, score=match.cosine))
            for match in self._choose_photos(nearest, self.show_photo(embedded))
            if match.product.same_photo or match.cosine >= cosine
        ]
        return sorted(matches, key=lambda match: -match.cosine)

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

    def _diversify(self, ranked: list[RankedProduct], diversity: float, weights: Weights) -> list[RankedProduct]:
        """Return ranked products in the order by `diversity`."""
        if not diversity or not ranked:
            return ranked
        vectors = self._vectors.similar.vectors_of(np.array([product.number for product in ranked]))
        scores = np.array([product.score for product in ranked], dtype=np.float32)
        own_vectors = weigh_symmetrically(vectors, self.dimensions, weights)
        order = diversify(scores, own_vectors, diversity)
        return [ranked[place] for place in order.tolist()]

    def _choose_photos(self, ranked: list[RankedProduct], shown: ShownPhotos) -> list[Match]:
        """Choose the photo of each product that is most similar to one of the photos that a question shows."""
        rows_of = [self._products.photos_of(product.number) for product in ranked]
        matches = []
        for product, rows, vectors in zip(ranked, rows_of, _vectors_by_product(rows_of, shown.vectors_of), strict=True):
            if len(vectors) and len(shown.vectors):
                _, place, cosine = most_similar_pair(shown.vectors, vectors)
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
