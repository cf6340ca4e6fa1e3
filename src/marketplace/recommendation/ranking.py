"""The ranking of similar products, for the table of recommendations and for single questions.

Here a photo's vector is its kind vector, followed by its product's text vector: one inner product compares both. Two
products are as similar as their most similar pair of photos. Of listings that share a photo or a title, only the best
is recommended; it is marked if it shares the photo or title with the product in question.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from marketplace.recommendation.filters import Filters
from marketplace.recommendation.products import Products

INDEX_ABOVE = 5_000  # photos; comparing fewer one by one takes a few milliseconds


@dataclass(frozen=True)
class Restriction:
    """The products that may be listed: those that pass the filters, except the excluded ones."""

    passing: np.ndarray  # (P,) bool; excluded products are False
    filters: Filters
    excluded: Sequence[int] = ()  # numbers of products


@dataclass(frozen=True)
class NearestPhotos:
    """The photos most similar to each vector of a question, most similar first."""

    scores: np.ndarray  # (Q, n) float32
    rows: np.ndarray  # (Q, n) int, of the training data; -1: no further photo
    complete: bool  # these are all photos that may be listed


class Search(Protocol):
    """Finds the photos nearest to vectors, in an index or a database."""

    def nearest(self, vectors: np.ndarray, restriction: Restriction, depth: int) -> NearestPhotos:
        """Return the `depth` nearest photos that may be listed, or all of them, for each of the vectors `(Q, d)`."""

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors `(n, d)` of photos by their rows in the training data; missing ones are left out."""


class IndexSearch:
    """Searches an index, exact or approximate, and the vectors `(N, d)` in it; see Search.

    `open_index` is called when the index is needed for the first time.
    """

    def __init__(self, open_index: Callable[[], Any], vectors: np.ndarray, products: Products) -> None:
        self._open_index = open_index
        self._vectors = vectors
        self._products = products

    @cached_property
    def index(self) -> Any:
        """The index."""
        return self._open_index()

    def nearest(self, vectors: np.ndarray, restriction: Restriction, depth: int) -> NearestPhotos:
        """See Search. Few photos are compared one by one; so are all, if an approximate index returns too few."""
        among = restriction.passing[self._products.product_of_row]
        n_photos = int(among.sum())
        if n_photos > INDEX_ABOVE and depth < n_photos:
            from marketplace.recommendation.index import nearest_among  # loads FAISS: few photos need none

            scores, rows = nearest_among(self.index, vectors, among, depth)
            if (rows >= 0).all():
                return NearestPhotos(scores=scores, rows=rows, complete=False)
        rows = np.flatnonzero(among)
        most = 2 * n_photos > len(among)  # then copying their vectors takes longer than comparing all photos
        scores = (vectors @ self._vectors.T)[:, rows] if most else vectors @ self._vectors[rows].T
        return NearestPhotos(scores=scores, rows=np.tile(rows, (len(vectors), 1)), complete=True)

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """See Search."""
        return self._vectors[rows]


@dataclass(frozen=True)
class RankedProduct:
    """A similar product, with its score and its most similar photo."""

    number: int  # its row in the table of products
    row: int  # of the training data: its most similar photo
    score: float
    same_photo: bool  # it shares a photo with a product that the question is about
    same_text: bool  # likewise a title


def with_words(kinds: np.ndarray, texts: np.ndarray, words: float) -> np.ndarray:
    """Join kind vectors `(N, k)` and the text vectors `(N, t)` of their products to `(N, k + t) float32`.

    The inner product of two rows is (1 - words) x the similarity of the photos + words x the similarity of the texts.
    In a question about photos or texts alone, the other part is zero.
    """
    return np.hstack([(1 - words) ** 0.5 * kinds, words**0.5 * texts]).astype(np.float32)


def most_similar_pair(vectors: np.ndarray, others: np.ndarray) -> tuple[int, int, float]:
    """Return which of `vectors` `(n, d)` and of `others` `(m, d)` are most similar, and their inner product."""
    similarities = vectors @ others.T
    row, other_row = np.unravel_index(similarities.argmax(), similarities.shape)
    return int(row), int(other_row), float(similarities[row, other_row])


def nearest_products(
    products: Products,
    search: Search,
    vectors: np.ndarray,
    k: int,
    restriction: Restriction,
    query_products: np.ndarray,
) -> list[RankedProduct]:
    """Return the `k` products most similar to a question, given as vectors `(Q, d)`, most similar first.

    `query_products` are the numbers of the products that the question is about, if any. The search returns more and
    more photos until they show k products.
    """
    if not len(vectors):
        return []
    depth = 4 * k
    while True:
        nearest = search.nearest(vectors, restriction, depth)
        known = nearest.rows >= 0
        if not nearest.complete:
            # A vector's list is complete down to its last score: below the highest of these, a photo may be missing.
            known &= nearest.scores >= nearest.scores[:, -1].max()
        ranked = _rank(products, nearest.rows[known], nearest.scores[known], k, query_products)
        if nearest.complete or len(ranked) == k:
            return ranked
        depth *= 4


def _rank(
    products: Products, rows: np.ndarray, scores: np.ndarray, k: int, query_products: np.ndarray
) -> list[RankedProduct]:
    """Rank the products that photos `rows` `(n,)` with `scores` `(n,)` show; return the `k` best."""
    candidates, best = max_by_product(products, rows, scores)
    chosen = top_k_distinct(best, products.groups[candidates], k)
    numbers = candidates[chosen]
    owners = products.product_of_row[rows]
    same_photo = np.isin(products.photo_groups[numbers], products.photo_groups[query_products])
    same_text = np.isin(products.text_groups[numbers], products.text_groups[query_products])
    ranked = []
    for place, number in enumerate(numbers):
        own = np.flatnonzero(owners == number)
        product = RankedProduct(
            number=int(number),
            row=int(rows[own[scores[own].argmax()]]),
            score=float(best[chosen[place]]),
            same_photo=bool(same_photo[place]),
            same_text=bool(same_text[place]),
        )
        ranked.append(product)
    return ranked


def top_products(products: Products, numbers: np.ndarray, scores: np.ndarray, k: int) -> list[RankedProduct]:
    """Return the `k` products of `numbers` `(n,)` with the highest `scores` `(n,)`, one of each group."""
    return [
        RankedProduct(
            number=int(numbers[place]),
            row=int(products.photos_of(numbers[place])[0]),
            score=float(scores[place]),
            same_photo=False,
            same_text=False,
        )
        for place in top_k_distinct(scores, products.groups[numbers], k)
    ]


def max_by_product(products: Products, rows: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (numbers, scores) `(n,)` each: the products that photos `rows` show, and the highest score of each."""
    numbers, place = np.unique(products.product_of_row[rows], return_inverse=True)
    best = np.full(len(numbers), -np.inf, dtype=np.float32)
    np.maximum.at(best, place, scores)
    return numbers, best


def segment_max(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the maxima `(len(starts), M)` of the rows of `values` `(N, M)` from each start up to the next.

    The same as `np.maximum.reduceat`, which takes ten times as long for short segments.
    """
    counts = np.diff(starts, append=len(values))
    maxima = values[starts]
    for place in range(1, counts.max(initial=1)):
        longer = np.flatnonzero(counts > place)
        maxima[longer] = np.maximum(maxima[longer], values[starts[longer] + place])
    return maxima


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
