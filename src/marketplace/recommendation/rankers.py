"""Two ways to find the most similar products of many products: compare all, or compare the candidates of an index."""

import logging
from typing import Protocol

import numpy as np

from marketplace.recommendation.products import Products
from marketplace.recommendation.ranking import max_by_product, segment_max
from marketplace.recommendation.rules import RankingRules, RecommendSettings, SimilarProducts
from marketplace.vectors.candidates import Candidates

log = logging.getLogger(__name__)
CANDIDATE_FACTOR = 8  # candidate photos for each photo, per recommendation
LOSS_PRODUCTS = 200


class Ranker(Protocol):
    """Finds the most similar products of each product of a block."""

    def __call__(self, numbers: np.ndarray) -> list[SimilarProducts]:
        """Return the recommendations for each of the products with these numbers."""


class ExhaustiveRanker:
    """Compares each product with all others. `vectors` `(N, d)` are in the order of the training data."""

    def __init__(self, products: Products, vectors: np.ndarray, settings: RecommendSettings) -> None:
        self._products = products
        self._vectors = vectors
        self._rules = RankingRules(products, settings)
        self._every_product = np.arange(len(products.table))

    def __call__(self, numbers: np.ndarray) -> list[SimilarProducts]:
        """See Ranker."""
        photos, starts = self._products.photos_of_block(numbers)
        similarities = (self._vectors @ self._vectors[photos].T)[self._products.photos]  # (N, photos)
        by_product = segment_max(similarities, self._products.starts)  # (P, photos)
        scores = segment_max(np.ascontiguousarray(by_product.T), starts)  # (len(numbers), P)
        return [
            self._rules.apply(number, self._every_product, row)
            for number, row in zip(numbers.tolist(), scores, strict=True)
        ]


class CandidateRanker:
    """Compares each product with the candidates of an approximate index, and with all others if those are too few."""

    def __init__(self, products: Products, vectors: np.ndarray, settings: RecommendSettings) -> None:
        self._products = products
        self._vectors = vectors
        self._k = settings.k
        self._rules = RankingRules(products, settings)
        self._index = Candidates(vectors)
        self._exhaustive = ExhaustiveRanker(products, vectors, settings)

    def __call__(self, numbers: np.ndarray) -> list[SimilarProducts]:
        """See Ranker."""
        photos, starts = self._products.photos_of_block(numbers)
        scores, rows = self._index.nearest(self._vectors[photos], CANDIDATE_FACTOR * self._k)
        score_blocks = np.split(scores, starts[1:])
        row_blocks = np.split(rows, starts[1:])
        return [
            self._rank(number, own_rows, own_scores)
            for number, own_rows, own_scores in zip(numbers.tolist(), row_blocks, score_blocks, strict=True)
        ]

    def _rank(self, number: int, rows: np.ndarray, scores: np.ndarray) -> SimilarProducts:
        """Rank the products of the candidate photos `rows` `(photos, candidates)`; -1: no candidate."""
        present = rows >= 0
        candidates, best = max_by_product(self._products, rows[present], scores[present])
        similar = self._rules.apply(number, candidates, best)
        if len(similar.numbers) < self._k:
            return self._exhaustive(np.array([number]))[0]
        return similar


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
