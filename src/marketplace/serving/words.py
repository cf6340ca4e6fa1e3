"""Search by words: the products whose texts are closest to a question, in meaning and spelling."""

import faiss
import numpy as np

from marketplace.recommendation.index import nearest_among
from marketplace.recommendation.ranking import INDEX_ABOVE

MAX_EXACT_TEXTS = 100_000  # comparing the texts of a million products takes 0.2 s
COARSE_FACTORY = "PCA128,SQ8"  # FAISS's description of the coarse index: searching a million takes 30 ms
COARSE_TRAINING_TEXTS = 20_000
SHORTLIST = 1_000  # products from the coarse index


class WordSearch:
    """Compares questions with the text vectors `(P, t) float32` of products.

    Beyond MAX_EXACT_TEXTS products, a coarse index of smaller vectors selects a SHORTLIST to compare.
    """

    def __init__(self, texts: np.ndarray) -> None:
        self._texts = texts
        self._coarse = _build_coarse_index(texts) if len(texts) > MAX_EXACT_TEXTS else None

    def scores(self, question: np.ndarray, passing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (numbers, scores) `(n,)` each of products in `passing` `(P,) bool`, by number.

        `question` `(t,) float32` is the vector of the words.
        """
        numbers = np.flatnonzero(passing)
        if self._coarse is not None and len(numbers) > INDEX_ABOVE:
            _, nearest = nearest_among(self._coarse, question[None], passing, SHORTLIST)
            numbers = np.sort(nearest[nearest >= 0])
        return numbers, self._texts[numbers] @ question


def _build_coarse_index(texts: np.ndarray) -> faiss.Index:
    # By distance: a PCA subtracts a mean, which changes inner products, but not distances.
    index = faiss.index_factory(texts.shape[1], COARSE_FACTORY, faiss.METRIC_L2)
    index.train(np.ascontiguousarray(texts[:: max(1, len(texts) // COARSE_TRAINING_TEXTS)]))
    for start in range(0, len(texts), 2**16):
        index.add(np.ascontiguousarray(texts[start : start + 2**16]))
    return index
