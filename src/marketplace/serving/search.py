"""Search in the catalogue by words: titles and descriptions, categories, places and ids."""

from collections.abc import Callable

import numpy as np

from marketplace.recommendation.products import Products
from marketplace.serving.ids import Ids
from marketplace.serving.names import NameSearch
from marketplace.serving.words import WordSearch

MIN_ID_LENGTH = 4  # characters of a search that may be an id's beginning
NAME_BONUS = 0.3  # added to the score of a product whose id, category or place is the search
MIN_SCORE = 0.3  # to list a product; chosen by inspecting searches


class CatalogueSearch:
    """Searches the products by words.

    `texts` `(P, t) float32` are their text vectors, and `embed` returns the vector `(t,) float32` of words.
    """

    def __init__(self, products: Products, ids: Ids, texts: np.ndarray, embed: Callable[[str], np.ndarray]) -> None:
        self._ids = ids
        self._texts = texts
        self._embed = embed
        self._names = NameSearch(products.table)
        self._words = WordSearch(texts)

    def scores(self, words: str, passing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (numbers, scores) `(n,)` each: how close the texts of products in `passing` `(P,) bool` are."""
        return self._words.scores(self._embed(words), passing)

    def find(self, words: str, passing: np.ndarray) -> np.ndarray:
        """Return the numbers `(n,)` of the products in `passing` `(P,) bool` that match words, the best first."""
        named = self._named(words)
        numbers, scores = self.scores(words, passing)
        others = np.setdiff1d(np.flatnonzero(named & passing), numbers, assume_unique=True)
        other_scores = self._texts[others] @ self._embed(words)
        numbers = np.concatenate([numbers, others])
        scores = np.concatenate([scores, other_scores]) + NAME_BONUS * named[numbers]
        order = np.argsort(-scores, kind="stable")
        return numbers[order[scores[order] >= MIN_SCORE]]

    def _named(self, words: str) -> np.ndarray:
        """Return a mask `(P,) bool` of the products whose id, category or place the words name."""
        named = self._names.match(words)
        if len(words.strip()) >= MIN_ID_LENGTH:
            named[[self._ids.number(product_id) for product_id in self._ids.matching(words)]] = True
        return named
