"""The rules of ranking: the section `recommend` of params.yaml, and the one place that applies it to products."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

import numpy as np
from pydantic import Field

from marketplace.common.params import Section
from marketplace.recommendation.diversity import DIVERSITY_POOL, diversify
from marketplace.recommendation.filters import FilteredTable, Filters
from marketplace.recommendation.lookalikes import LookalikeSettings
from marketplace.recommendation.products import Products
from marketplace.recommendation.ranking import top_k_distinct
from marketplace.recommendation.similarity import Weights


class QuestionWeights(Section):
    """The weights of a similarity's parts, by the kind of question."""

    product: Weights
    photo: Weights
    words: Weights


class RecommendSettings(Section):
    """The rules for recommendations, their number, and the indexes for questions."""

    k: Annotated[int, Field(ge=1)]
    weights: QuestionWeights
    lookalikes: LookalikeSettings
    keyword_weight: Annotated[float, Field(ge=0, le=1)]
    diversity: Annotated[float, Field(ge=0, lt=1)]
    least_probability: Annotated[float, Field(ge=0, le=1)] | None
    same_category: bool
    same_location: bool
    price_factor: Annotated[float, Field(ge=1)] | None
    index: Annotated[str, Field(min_length=1)]
    index_search: Annotated[str, Field(min_length=1)] | None


@dataclass(frozen=True)
class SimilarProducts:
    """The products recommended for one product, most similar first."""

    numbers: np.ndarray  # (n,) int, n <= recommend.k
    scores: np.ndarray  # (n,) float32


class RankingRules:
    """The rules of `settings`: which products may be recommended for a product, in which order, and how many.

    Inner products of `vectors` `(P, d)` are the similarities of products.
    """

    def __init__(self, products: Products, vectors: np.ndarray, settings: RecommendSettings) -> None:
        self._products = products
        self._vectors = vectors
        self._settings = settings
        self._table = FilteredTable(products.table)

    def apply(self, number: int, candidates: np.ndarray, scores: np.ndarray) -> SimilarProducts:
        """Return the best candidates for the product `number`, one of each group.

        `candidates` `(n,) int` are numbers of products, `scores` `(n,) float32` their similarities to the product.
        """
        scores = self._drop_forbidden(number, candidates, scores)
        k = self._settings.k
        depth = DIVERSITY_POOL * k if self._settings.diversity else k
        chosen = self._diversify(candidates, scores, top_k_distinct(scores, self._products.groups[candidates], depth))
        return SimilarProducts(numbers=candidates[chosen[:k]], scores=scores[chosen[:k]])

    def order(self, number: int, candidates: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Return the places of all candidates that may be listed, best first, whatever their groups; see `apply`."""
        scores = self._drop_forbidden(number, candidates, scores)
        places = np.argsort(-scores, kind="stable")
        return self._diversify(candidates, scores, places[np.isfinite(scores[places])])

    def _drop_forbidden(self, number: int, candidates: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Return the scores; -inf for candidates that do not pass the filters, and for the product itself."""
        allowed = self._table.passing(self._filters_for(number), candidates)
        allowed &= candidates != number
        return np.where(allowed, scores, -np.inf)

    def _diversify(self, candidates: np.ndarray, scores: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return the `places` of candidates, best first, in the order by `recommend.diversity`."""
        if not self._settings.diversity:
            return places
        vectors = self._vectors[candidates[places]]
        return places[diversify(scores[places], vectors, self._settings.diversity)]

    def _filters_for(self, number: int) -> Filters:
        """Return the filters on a product's recommendations by `recommend.same_*` and `recommend.price_factor`.

        A product without a price gets recommendations of any price.
        """
        settings = self._settings
        product = self._products.product(number)
        min_price = None
        max_price = None
        if settings.price_factor is not None and product.price is not None:
            factor = Decimal(settings.price_factor)
            min_price = float(product.price / factor)
            max_price = float(product.price * factor)
        return Filters(
            category=self._products.categories[number] if settings.same_category else None,
            location=product.location if settings.same_location else None,
            min_price=min_price,
            max_price=max_price,
        )
