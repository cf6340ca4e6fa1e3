"""The rules of ranking: the section `recommend` of params.yaml, and the one place that applies it to products."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

import numpy as np
from pydantic import Field

from marketplace.common.params import Section
from marketplace.recommendation.filters import FilteredTable, Filters
from marketplace.recommendation.products import Products
from marketplace.recommendation.ranking import top_k_distinct


class RecommendSettings(Section):
    """The rules for recommendations, their number, and the index for new photos."""

    k: Annotated[int, Field(ge=1)]
    words: Annotated[float, Field(ge=0, le=1)]
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
    """The rules of `settings`: which products may be recommended for a product, in which order, and how many."""

    def __init__(self, products: Products, settings: RecommendSettings) -> None:
        self._products = products
        self._settings = settings
        self._table = FilteredTable(products.table)

    def apply(self, number: int, candidates: np.ndarray, scores: np.ndarray) -> SimilarProducts:
        """Return the best candidates for the product `number`.

        `candidates` `(n,) int` are numbers of products, `scores` `(n,) float32` their similarities to the product.
        """
        allowed = self._table.passing(self._filters_for(number), candidates)
        allowed &= candidates != number  # never a product for itself
        scores = np.where(allowed, scores, -np.inf)
        chosen = top_k_distinct(scores, self._products.groups[candidates], self._settings.k)
        return SimilarProducts(numbers=candidates[chosen], scores=scores[chosen])

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
