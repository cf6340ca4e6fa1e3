"""The ranking of similar products, for the table of recommendations and for single questions.

A row of an index is a product or one of its photos. Of a product's rows, the one nearest to the question counts. Of
listings that share a photo or a title, only the best is recommended; it is marked if it shares the photo or title with
the product in question.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from marketplace.recommendation.filters import Filters
from marketplace.recommendation.products import Products

INDEX_ABOVE = 5_000  # rows; comparing fewer one by one takes a few milliseconds
ROWS_AT_ONCE = 4_096  # whose vectors are in memory at the same time
BONUS_DEPTH = 1_000  # products: a bonus brings none of the others to the first places


@dataclass(frozen=True)
class Restriction:
    """The products that may be listed."""

    passing: np.ndarray  # (P,) bool: those that pass the filters, without those that are excluded for other reasons
    filters: Filters


def allow_all(n_products: int) -> Restriction:
    """Return a restriction that all products pass."""
    return Restriction(passing=np.ones(n_products, dtype=bool), filters=Filters())


@dataclass(frozen=True)
class Nearest:
    """The rows most similar to a question, most similar first."""

    scores: np.ndarray  # (n,) float32
    numbers: np.ndarray  # (n,) int, the product of each row
    complete: bool  # these are all rows that may be listed


class Search(Protocol):
    """Finds the rows nearest to a vector, in an index or a database."""

    def nearest(self, vector: np.ndarray, restriction: Restriction, depth: int) -> Nearest:
        """Return the `depth` rows nearest to a vector `(d,)` that may be listed, or all of them."""

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors `(n, d)` of rows; missing ones are left out."""


class IndexSearch:
    """Searches an index, exact or approximate, which is the only place that has the vectors `(n, d)`; see Search.

    `open_index` is called when the index is needed for the first time. `owners` `(n,) int` are the products that the
    rows belong to. If questions are `seldom`, the memory of the index's file is given back after each of them.
    """

    def __init__(self, open_index: Callable[[], Any], owners: np.ndarray, *, seldom: bool = False) -> None:
        self._open_index = open_index
        self._owners = owners
        self._seldom = seldom

    @cached_property
    def n_products(self) -> int:
        """The number of products that rows may belong to."""
        return int(self._owners.max(initial=-1)) + 1

    @cached_property
    def index(self) -> Any:
        """The index."""
        return self._open_index()

    @cached_property
    def _few(self) -> np.ndarray | None:
        """All vectors, if they are so few that questions are compared with each of them; None for more."""
        n_rows = len(self._owners)
        return self.index.reconstruct_n(0, n_rows) if n_rows <= INDEX_ABOVE else None

    def nearest(self, vector: np.ndarray, restriction: Restriction, depth: int) -> Nearest:
        """See Search. Few rows are compared one by one; so are all, if an approximate index returns too few."""
        among = restriction.passing[self._owners]
        n_rows = int(among.sum())
        if n_rows > INDEX_ABOVE and depth < n_rows:
            from marketplace.recommendation.index import nearest_among  # loads FAISS: few rows need none

            (scores,), (rows,) = nearest_among(self.index, vector[None], among, depth)
            self._release()
            if (rows >= 0).all():
                return Nearest(scores=scores, numbers=self._owners[rows], complete=False)
        rows = np.flatnonzero(among)
        return Nearest(scores=self._compare(rows, vector), numbers=self._owners[rows], complete=True)

    def _compare(self, rows: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """Return the inner products `(n,)` of some rows with a vector `(d,)`."""
        if self._few is not None and 2 * len(rows) > len(self._few):  # copying takes longer than comparing all
            return (self._few @ vector)[rows]
        blocks = np.split(rows, range(ROWS_AT_ONCE, len(rows), ROWS_AT_ONCE))
        return np.concatenate([self.vectors_of(block) @ vector for block in blocks])

    def vectors_of(self, rows: np.ndarray, columns: slice = slice(None)) -> np.ndarray:
        """See Search; or only some `columns` of the vectors."""
        if self._few is not None:
            return self._few[rows, columns]
        vectors = self.index.reconstruct_batch(np.ascontiguousarray(rows, np.int64))[:, columns]
        self._release()
        return vectors

    def _release(self) -> None:
        if self._seldom:
            from marketplace.recommendation.index import release_index

            release_index(self.index)


class BonusSearch:
    """Searches products as another search does, and adds a bonus to the scores of the BONUS_DEPTH nearest.

    `bonus_of` returns the bonus `(n,)` of products by their numbers `(n,)`.
    """

    def __init__(self, search: Search, bonus_of: Callable[[np.ndarray], np.ndarray]) -> None:
        self._search = search
        self._bonus_of = bonus_of

    def nearest(self, vector: np.ndarray, restriction: Restriction, depth: int) -> Nearest:
        """See Search."""
        nearest = self._search.nearest(vector, restriction, max(depth, BONUS_DEPTH))
        return replace(nearest, scores=nearest.scores + self._bonus_of(nearest.numbers))

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """See Search."""
        return self._search.vectors_of(rows)


@dataclass(frozen=True)
class RankedProduct:
    """A similar product, with its score."""

    number: int  # its row in the table of products
    score: float
    same_photo: bool  # it shares a photo with a product that the question is about
    same_text: bool  # likewise a title


def most_similar_pair(vectors: np.ndarray, others: np.ndarray) -> tuple[int, int, float]:
    """Return which of `vectors` `(n, d)` and of `others` `(m, d)` are most similar, and their inner product."""
    similarities = vectors @ others.T
    row, other_row = np.unravel_index(similarities.argmax(), similarities.shape)
    return int(row), int(other_row), float(similarities[row, other_row])


def nearest_products(
    products: Products,
    search: Search,
    vector: np.ndarray,
    k: int,
    restriction: Restriction,
    query_products: np.ndarray,
) -> list[RankedProduct]:
    """Return the `k` products most similar to a question, given as a vector `(d,)`, most similar first.

    `query_products` are the numbers of the products that the question is about, if any. The search returns more and
    more rows until they belong to k products.
    """
    depth = 4 * k
    while True:
        nearest = search.nearest(vector, restriction, depth)
        ranked = _rank(products, nearest.numbers, nearest.scores, k, query_products)
        if nearest.complete or len(ranked) == k:
            return ranked
        depth *= 4


def _rank(
    products: Products, owners: np.ndarray, scores: np.ndarray, k: int, query_products: np.ndarray
) -> list[RankedProduct]:
    """Rank the products that own rows with `scores` `(n,)`; return the `k` best."""
    candidates, best = max_by_product(owners, scores)
    chosen = top_k_distinct(best, products.groups[candidates], k)
    numbers = candidates[chosen]
    same_photo = np.isin(products.photo_groups[numbers], products.photo_groups[query_products])
    same_text = np.isin(products.text_groups[numbers], products.text_groups[query_products])
    return [
        RankedProduct(
            number=int(number),
            score=float(best[chosen[place]]),
            same_photo=bool(same_photo[place]),
            same_text=bool(same_text[place]),
        )
        for place, number in enumerate(numbers)
    ]


def max_by_product(owners: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (numbers, scores) `(n,)` each: the distinct `owners` of rows, and the highest score of each."""
    numbers, place = np.unique(owners, return_inverse=True)
    best = np.full(len(numbers), -np.inf, dtype=np.float32)
    np.maximum.at(best, place, scores)
    return numbers, best


def top_k_distinct(scores: np.ndarray, groups: np.ndarray, k: int) -> np.ndarray:
    """Return the places `(<= k,)` of the highest finite `scores` `(P,)`, highest first, at most one of each group.

    `groups` `(P,) int` are equal for members of a group. Equal scores are ordered by place.
    """
    depth = min(len(scores), 4 * k)
    while True:
        candidates = np.arange(len(scores))
        if depth < len(scores):
            # All that reach the score at this depth, so that a tie is not cut at random.
            candidates = np.flatnonzero(scores >= -np.partition(-scores, depth - 1)[depth - 1])
        order = candidates[np.argsort(-scores[candidates], kind="stable")]
        order = order[np.isfinite(scores[order])]
        first_of_group = np.unique(groups[order], return_index=True)[1]
        chosen = order[np.sort(first_of_group)][:k]
        if len(chosen) == k or len(candidates) == len(scores):
            return chosen
        depth = len(scores)
