"""The hub bias of photos: some photos are close to everything, and would be found for every question.

A share of a photo's mean similarity to its nearest photos is its hub bias, which is subtracted when searching for the
same product (CSLS, Conneau et al., arXiv:1710.04087).
"""

import numpy as np

from marketplace.vectors.candidates import EXHAUSTIVE_UP_TO_PHOTOS, Candidates
from marketplace.vectors.inner_products import inner_products

SPARE_CANDIDATES = 27  # besides the nearest photos: the photo itself and its copies
ROWS_AT_ONCE = 1024  # bounds memory to 1024 x N similarities


def hub_bias(vectors: np.ndarray, sha256: np.ndarray, *, neighbours: int, weight: float) -> np.ndarray:
    """Return the hub bias `(N,) float32` of each of the unit-length vectors `(N, d)`.

    It is `weight` times the mean similarity to the nearest `neighbours` photos. Copies of a photo's file, by their
    `sha256` `(N,)`, do not count as neighbours. Above EXHAUSTIVE_UP_TO_PHOTOS, the neighbours are chosen among the
    candidates of an approximate index.
    """
    k = min(neighbours, len(vectors) - 1)
    bias = np.zeros(len(vectors), dtype=np.float32)
    if k < 1 or weight == 0:
        return bias
    photo = np.unique(sha256, return_inverse=True)[1]
    all_rows = np.arange(len(vectors))
    candidates = Candidates(vectors) if len(vectors) > EXHAUSTIVE_UP_TO_PHOTOS else None
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        rows = all_rows[start : start + ROWS_AT_ONCE]
        if candidates is None:
            similarity = inner_products(vectors[rows], vectors)
            nearby = all_rows[None, :]
        else:
            similarity, nearby = candidates.nearest(vectors[rows], k + SPARE_CANDIDATES)
        similarity[photo[rows][:, None] == photo[nearby]] = 0
        similarity[np.isneginf(similarity)] = 0  # the index returned fewer candidates
        bias[rows] = weight * np.partition(similarity, -k, axis=1)[:, -k:].mean(axis=1)
    return bias
