"""Vectors of category paths, whose inner product is the share of levels that two paths have in common.

    <vector(a), vector(b)> = (number of first levels that a and b share) / (levels of the deepest path)

This kernel has one feature for each category at each level, several hundred for a real marketplace. The vectors have at
most `DIMENSIONS` values: they are the low-rank factor with the smallest squared error, in which pairs of paths that
share a level count most. Related paths must be told apart exactly; unrelated ones may be a little more or less than
unrelated.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from marketplace.common.damage import parsing
from marketplace.common.files import replacing

SEPARATOR = " / "
DIMENSIONS = 64
MAX_PATHS = 1000  # that are fitted, the most frequent ones: more take minutes
DEEPEST_SHARE = 0.99  # of products, whose paths end at the deepest level that counts: a single odd path decides nothing
UNRELATED_WEIGHT = 0.02  # of the error of a pair that shares no level; 1 for the others
ITERATIONS = 300
NUDGE = 0.01  # of the start, at random
RIDGE = 1e-3  # of the regression that places paths which were not fitted


@dataclass(frozen=True)
class PathSpace:
    """The vectors of fitted paths, and the map to them from a path's shared levels with each."""

    paths: list[str]  # (n,)
    deepest: int  # the level that counts last
    fitted: np.ndarray  # (n, p) float
    matrix: np.ndarray  # (n, p) float

    def vectors(self, paths: Sequence[str]) -> np.ndarray:
        """Return the vectors `(N, p) float32` of paths; one that shares no level with any fitted path becomes zero."""
        row_of = {path: row for row, path in enumerate(self.paths)}
        distinct = sorted(set(paths))
        vectors = shared_levels(distinct, self.paths, self.deepest) / self.deepest @ self.matrix
        for place, path in enumerate(distinct):
            if path in row_of:
                vectors[place] = self.fitted[row_of[path]]
        return vectors[np.searchsorted(distinct, paths)].astype(np.float32)

    def save(self, path: Path) -> None:
        """Write the space as an `.npz` file."""
        arrays: dict[str, Any] = {**vars(self), "paths": np.array(self.paths)}
        with replacing(path) as part, part.open("wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a space that was written. Raises MarketplaceError if the file is missing or damaged."""
        with parsing(path), np.load(path, allow_pickle=False) as arrays:
            return cls(
                paths=arrays["paths"].tolist(),
                deepest=int(arrays["deepest"]),
                fitted=arrays["fitted"],
                matrix=arrays["matrix"],
            )


def fit_path_space(paths: Sequence[str]) -> PathSpace:
    """Fit vectors to the category paths of products, `(P,)`; frequent paths count more."""
    counts = dict(sorted(Counter(paths).most_common(MAX_PATHS)))
    distinct = list(counts)
    frequencies = np.array(list(counts.values()), dtype=float)
    deepest = _deepest_level(distinct, frequencies)
    kernel = shared_levels(distinct, distinct, deepest) / deepest
    fitted = _fit_factor(kernel, importance=np.sqrt(frequencies))  # between counting products and counting paths
    matrix = np.linalg.solve(kernel + RIDGE * np.eye(len(kernel)), fitted)
    return PathSpace(paths=distinct, deepest=deepest, fitted=fitted, matrix=matrix)


def shared_levels(paths: Sequence[str], others: Sequence[str], deepest: int) -> np.ndarray:
    """Return how many of the first `deepest` levels each path shares with each other one, `(n, m) float`."""
    levels = [path.split(SEPARATOR) for path in paths]
    other_levels = [path.split(SEPARATOR) for path in others]
    shared = np.zeros((len(paths), len(others)))
    for depth in range(1, deepest + 1):
        shared += _beginnings(levels, depth)[:, None] == _beginnings(other_levels, depth, missing="no path")[None, :]
    return shared


def _beginnings(levels: list[list[str]], depth: int, missing: str = "") -> np.ndarray:
    """Return the first `depth` levels of each path as a text; `missing` for a shorter path."""
    return np.array([SEPARATOR.join(path[:depth]) if len(path) >= depth else missing for path in levels])


def _deepest_level(paths: list[str], counts: np.ndarray) -> int:
    """Return the level at which the paths of nearly all products have ended."""
    levels = np.array([path.count(SEPARATOR) + 1 for path in paths])
    shares = np.cumsum(np.bincount(levels, counts)) / counts.sum()
    return int(np.argmax(shares >= DEEPEST_SHARE))


def _fit_factor(kernel: np.ndarray, importance: np.ndarray) -> np.ndarray:
    """Return the factor `(n, <= DIMENSIONS)` whose products come nearest to a kernel `(n, n)`.

    A pair counts as the product of its `importance` `(n,)`, less if it shares no level. Weighted low-rank approximation
    (Srebro & Jaakkola, 2003, https://dl.acm.org/doi/10.5555/3041838.3041929) by L-BFGS. It starts near the
    eigenvectors, which are a saddle point.
    """
    from scipy.optimize import minimize  # takes half a second: only the stage that fits needs it

    root = np.sqrt(importance)
    values, directions = np.linalg.eigh(root[:, None] * kernel * root[None, :])
    start = ((directions * np.sqrt(values.clip(min=0))) / root[:, None])[:, ::-1][:, :DIMENSIONS]
    if len(kernel) <= DIMENSIONS:
        return start
    start = start + NUDGE * np.random.default_rng(0).standard_normal(start.shape)
    weights = np.outer(importance, importance) * np.where(kernel > 0, 1, UNRELATED_WEIGHT)
    loss = partial(_weighted_error, kernel=kernel, weights=weights / weights.mean(), shape=start.shape)
    options = {"maxiter": ITERATIONS, "maxcor": 30}
    return minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(start.shape)


def _weighted_error(
    values: np.ndarray, kernel: np.ndarray, weights: np.ndarray, shape: tuple[int, int]
) -> tuple[float, np.ndarray]:
    """Return the weighted squared error of a factor, and its gradient."""
    factor = values.reshape(shape)
    error = factor @ factor.T - kernel
    weighted = weights * error
    return float((weighted * error).sum()), (4 * weighted @ factor).ravel()
