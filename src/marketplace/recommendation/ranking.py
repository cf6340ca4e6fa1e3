"""The one ranking of similar products, for the table of recommendations and for single questions.

A photo's vector here is its kind vector beside its product's text vector, so that one inner product compares both. Two
products are as similar as their most similar pair of photos. Of listings that share a photo or a title, only the best
is recommended, marked if the product that was asked about shares it too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from marketplace.recommendation.filters import Filters
from marketplace.recommendation.products import Products

FEW = 5_000  # photos that are compared one by one rather than asked of the index: that takes a few milliseconds


@dataclass(frozen=True)
class Wanted:
    """Which products may be listed: those that pass the filters, without some."""

    passing: np.ndarray  # (P,) bool, of both
    filters: Filters
    without: Sequence[int] = ()  # numbers of products


class Nearest(NamedTuple):
    """The photos most similar to each vector of a question, most similar first."""

    scores: np.ndarray  # (Q, n) float32
    rows: np.ndarray  # (Q, n), of the training data; -1: no more were found
    complete: bool  # these are all photos of wanted products


class Search(Protocol):
    """What finds the photos nearest to vectors: an index, or a database."""

    def nearest(self, vectors: np.ndarray, wanted: Wanted, depth: int) -> Nearest:
        """The `depth` nearest photos of wanted products, or all of them, for each of the vectors `(Q, d)`."""

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """The vectors `(n, d)` of photos, by their rows in the training data; those that are there."""


class IndexSearch:
    """Searches an index, exact or approximate, and the vectors `(N, d)` in it; see Search.

    `open_index` is called when the index is needed for the first time.
    """

    def __init__(self, open_index: Callable[[], Any], vectors: np.ndarray, products: Products) -> None:
        self._open_index, self._vectors, self._products = open_index, vectors, products

    @cached_property
    def index(self) -> Any:
        """The index."""
        return self._open_index()

    def nearest(self, vectors: np.ndarray, wanted: Wanted, depth: int) -> Nearest:
        """See Search. If few photos are wanted, they are compared one by one.

        So are they if an approximate index does not find enough among them.
        """
        among = wanted.passing[self._products.product_of_row]
        n_photos = int(among.sum())
        if n_photos > FEW and depth < n_photos:
            from marketplace.recommendation.index import nearest_among  # with FAISS, which few photos do without

            scores, rows = nearest_among(self.index, vectors, among, depth)
            if (rows >= 0).all():
                return Nearest(scores, rows, complete=False)
        rows = np.flatnonzero(among)
        most = 2 * n_photos > len(among)  # then copying their vectors takes longer than comparing the others, too
        scores = (vectors @ self._vectors.T)[:, rows] if most else vectors @ self._vectors[rows].T
        return Nearest(scores, np.tile(rows, (len(vectors), 1)), complete=True)

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """See Search."""
        vectors: np.ndarray = self._vectors[rows]
        return vectors


@dataclass(frozen=True)
class Ranked:
    """A similar product: its number in the table of products, its score, and what it shares with the question."""

    number: int
    row: int  # of the training data: its photo that is most similar
    score: float
    same_photo: bool
    same_text: bool


def with_words(kinds: np.ndarray, texts: np.ndarray, words: float) -> np.ndarray:
    """Kind vectors `(N, k)` and the text vectors `(N, t)` of their products side by side: `(N, k + t)`.

    The inner product of two of them is (1 - words) times the similarity of the photos plus words times that of the
    texts. For a question about photos or texts alone, the other part is zero.
    """
    return np.hstack([(1 - words) ** 0.5 * kinds, words**0.5 * texts]).astype(np.float32)


def most_similar_pair(vectors: np.ndarray, others: np.ndarray) -> tuple[int, int, float]:
    """Return which of `vectors` `(n, d)` and of `others` `(m, d)` are most similar, and their inner product."""
    similarities = vectors @ others.T
    row, other_row = np.unravel_index(similarities.argmax(), similarities.shape)
    return int(row), int(other_row), float(similarities[row, other_row])


def nearest_products(
    products: Products, search: Search, vectors: np.ndarray, k: int, wanted: Wanted, asked: np.ndarray
) -> list[Ranked]:
    """The `k` products most similar to a question, given as vectors `(Q, d)`.

    `asked` are the numbers of the products that the question is about, if any. The search is asked for more and more
    photos until there are k products.
    """
    if not len(vectors):
        return []
    depth = 4 * k
    while True:
        scores, rows, complete = search.nearest(vectors, wanted, depth)
        found = rows >= 0
        if not complete:
            # A vector's list is complete down to its last score; below the highest of these, something may be missing.
            found &= scores >= scores[:, -1].max()
        ranked = _ranked(products, rows[found], scores[found], k, asked)
        if complete or len(ranked) == k:
            return ranked
        depth *= 4


def _ranked(products: Products, rows: np.ndarray, scores: np.ndarray, k: int, asked: np.ndarray) -> list[Ranked]:
    """The `k` best products of those that rows show, with the scores of the rows."""
    numbers, best = best_by_product(products, rows, scores)
    chosen = one_per_group(best, products.groups[numbers], k)
    ranked = numbers[chosen]
    shown = _best_rows(products, rows, scores, ranked)
    same_photo = np.isin(products.photo_groups[ranked], products.photo_groups[asked]).tolist()
    same_text = np.isin(products.text_groups[ranked], products.text_groups[asked]).tolist()
    found = zip(ranked.tolist(), shown, best[chosen].tolist(), same_photo, same_text, strict=True)
    return [Ranked(*one) for one in found]


def _best_rows(products: Products, rows: np.ndarray, scores: np.ndarray, numbers: np.ndarray) -> list[int]:
    """Of the photos `rows`, the one with the highest score of each of the products `numbers`."""
    owners, found = products.product_of_row[rows], []
    for number in numbers.tolist():
        own = np.flatnonzero(owners == number)
        found.append(int(rows[own[scores[own].argmax()]]))
    return found


def best_by_product(products: Products, rows: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The products that photos `rows` show, and the highest of the photos' scores for each."""
    numbers, place = np.unique(products.product_of_row[rows], return_inverse=True)
    best = np.full(len(numbers), -np.inf, dtype=np.float32)
    np.maximum.at(best, place, scores)
    return numbers, best


def highest(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The maxima `(len(starts), M)` of the rows of `values` `(N, M)` from each start up to the next.

    The same as `np.maximum.reduceat`, which takes ten times as long if few rows belong together.
    """
    counts = np.diff(starts, append=len(values))
    result: np.ndarray = values[starts]
    for place in range(1, counts.max(initial=1)):
        longer = np.flatnonzero(counts > place)
        result[longer] = np.maximum(result[longer], values[starts[longer] + place])
    return result


def one_per_group(scores: np.ndarray, groups: np.ndarray, k: int) -> np.ndarray:
    """The places `(<= k,)` of the highest finite scores `(P,)`, highest first, each of another group.

    Equal scores are ordered by place.
    """
    looked_at = min(len(scores), 4 * k)
    while True:
        candidates = np.arange(len(scores))
        if looked_at < len(scores):
            # All that reach the lowest score of the highest few, so that a tie is not cut at random.
            candidates = np.flatnonzero(scores >= -np.partition(-scores, looked_at - 1)[looked_at - 1])
        order = candidates[np.argsort(-scores[candidates], kind="stable")]
        order = order[np.isfinite(scores[order])]
        chosen: np.ndarray = order[np.sort(np.unique(groups[order], return_index=True)[1])][:k]
        if len(chosen) == k or len(candidates) == len(scores):
            return chosen
        looked_at = len(scores)


def best_products(products: Products, numbers: np.ndarray, scores: np.ndarray, k: int) -> list[Ranked]:
    """The `k` products of `numbers` `(n,)` with the highest scores `(n,)`, one of each group."""
    chosen = one_per_group(scores, products.groups[numbers], k)
    return [
        Ranked(number, int(products.photos_of(number)[0]), score, same_photo=False, same_text=False)
        for number, score in zip(numbers[chosen].tolist(), scores[chosen].tolist(), strict=True)
    ]
