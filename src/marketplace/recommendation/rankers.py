"""Two ways to find the most similar products of many products: compare all, or compare the candidates of an index."""

import logging
from typing import Protocol

import numpy as np

from marketplace.recommendation.products import Products
from marketplace.recommendation.rules import RankingRules, RecommendSettings, SimilarProducts
from marketplace.vectors.candidates import Candidates

log = logging.getLogger(__name__)
CANDIDATE_FACTOR = 8  # candidates for each recommendation
LOSS_PRODUCTS = 200
EXHAUSTIVE_UP_TO_PRODUCTS = 50_000  # twice as many take four times as long


class Ranker(Protocol):
    """Finds the most similar products of each product of a block."""

    def __call__(self, numbers: np.ndarray) -> list[SimilarProducts]:
        """Return the recommendations for each of the products with these numbers."""


class ExhaustiveRanker:
    """Compares each product with all others. Inner products of `vectors` `(P, d)` are similarities."""

    def __init__(self, products: Products, vectors: np.ndarray, settings: RecommendSettings) -> None:
        self._vectors = vectors
        self._rules = RankingRules(products, vectors, settings)
        self._every_product = np.arange(len(products.table))

    def __call__(self, numbers: np.ndarray) -> list[SimilarProducts]:
        """See Ranker."""
        scores = self._vectors[numbers] @ self._vectors.T  # (len(numbers), P)
        return [
            self._rules.apply(number, self._every_product, row)
            for number, row in zip(numbers.tolist(), scores, strict=True)
        ]


class CandidateRanker:
    """Compares each product with the candidates of an approximate index, and with all others if those are too few."""

    def __init__(self, products: Products, vectors: np.ndarray, settings: RecommendSettings) -> None:
        self._vectors = vectors
        self._k = settings.k
        self._rules = RankingRules(products, vectors, settings)
        self._index = Candidates(vectors)
        self._exhaustive = ExhaustiveRanker(products, vectors, settings)

    def __call__(self, numbers: np.ndarray) -> list[SimilarProducts]:
        """See Ranker."""
        scores, candidates = self._index.nearest(self._vectors[numbers], CANDIDATE_FACTOR * self._k)
        return [
            self._rank(number, own_candidates, own_scores)
            for number, own_candidates, own_scores in zip(numbers.tolist(), candidates, scores, strict=True)
        ]

    def _rank(self, number: int, candidates: np.ndarray, scores: np.ndarray) -> SimilarProducts:
        """Rank the candidates `(n,)` for a product; -1: no candidate."""
        present = np.flatnonzero(candidates >= 0)
        by_number = present[np.argsort(candidates[present])]  # equal scores are ordered by number
        similar = self._rules.apply(number, candidates[by_number], scores[by_number])
        if len(similar.numbers) < self._k:
            return self._exhaustive(np.array([number]))[0]
        return similar


def create_ranker(products: Products, vectors: np.ndarray, settings: RecommendSettings) -> Ranker:
    """Return the ranker for a catalogue: exhaustive up to EXHAUSTIVE_UP_TO_PRODUCTS.

    Above, it compares the candidates of an approximate index, and the log says how many of the most similar products
    that loses. Inner products of `vectors` `(P, d)` are similarities.
    """
    exhaustive = ExhaustiveRanker(products, vectors, settings)
    if len(vectors) <= EXHAUSTIVE_UP_TO_PRODUCTS:
        return exhaustive
    approximate = CandidateRanker(products, vectors, settings)
    log_loss(len(vectors), exhaustive, approximate)
    return approximate


def log_loss(n_products: int, exhaustive: Ranker, approximate: Ranker) -> None:
    """Log which share of the most similar products an index finds, measured on some products."""
    sample = np.sort(np.random.default_rng(0).permutation(n_products)[:LOSS_PRODUCTS])
    shares = []
    for number in sample.tolist():  # one by one: a block of them would take gigabytes
        block = np.array([number])
        expected = exhaustive(block)[0].numbers
        approximated = approximate(block)[0].numbers
        shares.append(np.isin(expected, approximated).mean() if len(expected) else 1.0)
    log.info(
        "%s products: an index finds candidates, and %.3f of what comparing all would recommend (%d products compared)",
        f"{n_products:,}",
        np.mean(shares),
        len(sample),
    )
