"""Vectors of category paths, whose inner product is the share of levels that two paths have in common.

    <vector(a), vector(b)> = (number of first levels that a and b share) / (levels of the deepest path)

This kernel has one feature for each category at each level, which is one dimension for a category in a large tree. The
vectors keep the directions with the largest eigenvalues (kernel PCA without centring, Schölkopf et al., 1998,
https://doi.org/10.1162/089976698300017467), weighted by how many products have a path. They are exact if there are at
most `DIMENSIONS` paths.
"""

from collections.abc import Sequence

import numpy as np

SEPARATOR = " / "
DIMENSIONS = 64
SMALLEST_EIGENVALUE = 1e-9  # of the largest one: below it, rounding


def path_vectors(paths: Sequence[str], counts: Sequence[int], dimensions: int = DIMENSIONS) -> np.ndarray:
    """The vectors `(n, <= dimensions) float32` of distinct paths, each of `counts` `(n,)` products."""
    kernel = shared_levels(paths)
    weights = np.sqrt(np.asarray(counts, dtype=float) / np.sum(counts))
    values, directions = np.linalg.eigh(weights[:, None] * kernel * weights[None, :])
    kept = np.flatnonzero(values > SMALLEST_EIGENVALUE * values[-1])[::-1][:dimensions]
    # Nyström: the projection of each path onto a weighted direction.
    projected = kernel @ (weights[:, None] * directions[:, kept]) / np.sqrt(values[kept])
    return projected.astype(np.float32)


def shared_levels(paths: Sequence[str]) -> np.ndarray:
    """The kernel `(n, n)` of paths: shared first levels over the levels of the deepest path."""
    levels = [path.split(SEPARATOR) for path in paths]
    deepest = max(len(parts) for parts in levels)
    kernel = np.zeros((len(paths), len(paths)))
    for depth in range(1, deepest + 1):
        prefixes = np.array([SEPARATOR.join(parts[:depth]) for parts in levels])
        reaches = np.array([len(parts) >= depth for parts in levels])
        kernel += (prefixes[:, None] == prefixes[None, :]) & reaches[:, None] & reaches[None, :]
    return kernel / deepest
