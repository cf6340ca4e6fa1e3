"""The photos that may be nearest to a photo, in catalogues where comparing all with all would take too long."""

from typing import Any

import faiss
import numpy as np

EXACT_UP_TO = 50_000  # photos; comparing twice as many with all takes four times as long
COARSE_DIMENSIONS = 128  # of the vectors in the index; scores are those of the whole vectors
TRAINING_POINTS = 48  # per list, for the k-means: FAISS warns below 39
LISTS_SEARCHED = 24  # one in so many
QUERIES_AT_ONCE = 256


class Candidates:
    """An approximate FAISS index over vectors `(N, d)` of length 1 or less, and exact scores for what it finds.

    Only the order in which candidates are looked at is approximate: a PCA, 8-bit values, and a part of the lists of an
    inverted file (https://github.com/facebookresearch/faiss/wiki/Faiss-indexes). The same vectors give the same index.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors = vectors
        n, dimensions = vectors.shape
        lists = max(1, round(4 * n**0.5))
        factory = f"PCA{min(COARSE_DIMENSIONS, dimensions)},IVF{lists},SQ8"
        # By distance: a PCA subtracts a mean, which leaves distances as they are, but not inner products.
        self._index = faiss.index_factory(dimensions, factory, faiss.METRIC_L2)
        rows = np.random.default_rng(0).permutation(n)[: TRAINING_POINTS * lists]
        self._index.train(np.ascontiguousarray(vectors[np.sort(rows)]))
        for start in range(0, n, 2**16):
            self._index.add(np.ascontiguousarray(vectors[start : start + 2**16]))
        inverted: Any = faiss.extract_index_ivf(self._index)
        inverted.nprobe = max(1, lists // LISTS_SEARCHED)

    def nearest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """(similarities, rows) `(Q, k)` each: candidates for the `k` nearest of each query `(Q, d)`, in no order.

        A row is -1, with a similarity of -inf, if fewer were found.
        """
        found = [self._nearest(queries[at : at + QUERIES_AT_ONCE], k) for at in range(0, len(queries), QUERIES_AT_ONCE)]
        scores, rows = zip(*found, strict=True)
        return np.concatenate(scores), np.concatenate(rows)

    def _nearest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self._index.search(np.ascontiguousarray(queries), k)[1]
        scores = np.empty(rows.shape, np.float32)
        for place, (query, found) in enumerate(zip(queries, rows, strict=True)):
            scores[place] = self._vectors[found] @ query
        scores[rows < 0] = -np.inf
        return scores, rows
