"""An index that proposes near photos, for catalogues where comparing all photos would take too long."""

from typing import Any

import faiss
import numpy as np

from marketplace.common.files import release_pages
from marketplace.compute.scratch import blocks_of

EXHAUSTIVE_UP_TO_PHOTOS = 50_000  # up to here all photos are compared: twice as many take four times as long
COARSE_DIMENSIONS = 128  # of the vectors in the index; scores are computed with the full vectors
TRAINING_POINTS = 48  # per list, for the k-means: FAISS warns below 39
LIST_DIVISOR = 24  # a query searches 1/24 of the lists
QUERIES_AT_ONCE = 256


class Candidates:
    """An approximate FAISS index over vectors `(N, d)` of length 1 or less, with exact scores for the rows it returns.

    Only the choice of candidates is approximate: it uses a PCA, 8-bit values, and a part of the lists of an inverted
    file (https://github.com/facebookresearch/faiss/wiki/Faiss-indexes). The same vectors give the same index.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors = vectors
        n, dimensions = vectors.shape
        lists = max(1, round(4 * n**0.5))
        factory = f"PCA{min(COARSE_DIMENSIONS, dimensions)},IVF{lists},SQ8"
        # By distance: a PCA subtracts a mean, which leaves distances as they are, but not inner products.
        self._index = faiss.index_factory(dimensions, factory, faiss.METRIC_L2)
        sample = np.random.default_rng(0).permutation(n)[: TRAINING_POINTS * lists]
        self._index.train(vectors[np.sort(sample)])
        release_pages(vectors)
        for block in blocks_of(n):
            self._index.add(np.ascontiguousarray(vectors[block]))
            release_pages(vectors)
        inverted_file: Any = faiss.extract_index_ivf(self._index)
        inverted_file.nprobe = max(1, lists // LIST_DIVISOR)

    def nearest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (similarities, rows), `(Q, k)` each: candidates for the `k` nearest of each query `(Q, d)`, unordered.

        Where the index returns fewer, the row is -1 and its similarity -inf.
        """
        scores = np.empty((len(queries), k), np.float32)
        rows = np.empty((len(queries), k), np.int64)
        for block in blocks_of(len(queries), QUERIES_AT_ONCE):
            rows[block] = self._index.search(np.ascontiguousarray(queries[block]), k)[1]
        for place, query in enumerate(queries):
            scores[place] = self._vectors[rows[place]] @ query
        release_pages(self._vectors)
        scores[rows < 0] = -np.inf
        return scores, rows
