"""Search by words: the products whose texts are closest to a question, by meaning and by spelling."""

import faiss
import numpy as np

from marketplace.recommendation.index import nearest_among
from marketplace.recommendation.ranking import INDEX_ABOVE

EXACT_UP_TO = 100_000  # products; comparing the texts of a million takes 0.2 s
COARSE = "PCA128,SQ8"  # of the vectors that say which texts to compare: a million in 30 ms
TRAINING_POINTS = 20_000
MOST_FOUND = 1_000  # products, where not all are compared


class WordSearch:
    """Compares questions with the text vectors `(P, t)` of products.

    Beyond EXACT_UP_TO products, smaller vectors say which MOST_FOUND of them to compare: nothing further down is found.
    """

    def __init__(self, texts: np.ndarray) -> None:
        self._texts = texts
        self._coarse = _coarse_index(texts) if len(texts) > EXACT_UP_TO else None

    def scores(self, question: np.ndarray, passing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers `(n,)` of products, ascending, of those in `passing` `(P,) bool`, and the score of each."""
        numbers = np.flatnonzero(passing)
        if self._coarse is not None and len(numbers) > INDEX_ABOVE:
            found = nearest_among(self._coarse, question[None], passing, MOST_FOUND)[1][0]
            numbers = np.sort(found[found >= 0])
        return numbers, self._texts[numbers] @ question


def _coarse_index(texts: np.ndarray) -> faiss.Index:
    # By distance: a PCA subtracts a mean, which leaves distances as they are, but not inner products.
    index = faiss.index_factory(texts.shape[1], COARSE, faiss.METRIC_L2)
    index.train(np.ascontiguousarray(texts[:: max(1, len(texts) // TRAINING_POINTS)]))
    for start in range(0, len(texts), 2**16):
        index.add(np.ascontiguousarray(texts[start : start + 2**16]))
    return index
