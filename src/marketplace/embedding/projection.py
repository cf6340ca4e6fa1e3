"""The projection from a network's outputs to the vectors that are compared: power, learned whitening, unit length."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import Field

from marketplace.common.files import release_pages
from marketplace.common.params import Section
from marketplace.compute.scratch import ROWS_AT_ONCE

log = logging.getLogger(__name__)
MIN_VARIANCE = 1e-12  # keeps the inverse root of a covariance finite


class ExtractSettings(Section):
    """The way from a network's outputs to a photo's vectors, and from a product's words to its text vector."""

    mirrored: bool
    detail_weight: Annotated[float, Field(ge=0, lt=1)]
    power: Annotated[float, Field(gt=0, le=1)]
    detail_power: Annotated[float, Field(gt=0, le=1)]
    shrinkage: Annotated[float, Field(gt=0, le=1)]
    kind_dimensions: Annotated[int, Field(ge=1)] | None
    category_weight: Annotated[float, Field(ge=0, lt=1)]
    leaf_temperature: Annotated[float, Field(gt=0)]
    hub_neighbours: Annotated[int, Field(ge=1)]
    hub_weight: Annotated[float, Field(ge=0, le=1)]
    max_tokens: Annotated[int, Field(ge=3, le=512)]  # the first and last mark the ends; the network has 512 positions
    meaning_weight: Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Projection:
    """Signed power, centring, a linear map, unit length: `(B, D)` to `(B, d)`.

        y = normalise(matrix (sign(x) |x|^power - mean))

    A power of 0.5 is the square root of RootSIFT (Arandjelović & Zisserman, 2012). graphs.py runs it.
    """

    power: float
    mean: np.ndarray  # (D,) float32
    matrix: np.ndarray  # (d, D) float32, the directions of the largest variance first

    def cut(self, dimensions: int | None) -> "Projection":
        """Return the projection to at most the first `dimensions` of this one's; None: to all."""
        return replace(self, matrix=self.matrix[:dimensions])


@dataclass(frozen=True)
class Projections:
    """The three projections of a network's outputs, and how they form a photo's two vectors.

    The identity vector joins the embedding and the details, weighted with w = `detail_weight`:

        identity = [sqrt(1 - w) * identity(embeddings), sqrt(w) * detail(details)]

    The kind vector joins another projection of the embedding and the square roots of probabilities p (which have
    length 1, since probabilities sum to 1), weighted with v = `category_weight`, which root and leaf categories share:

        kind = [sqrt(1 - v) * kind(embeddings), sqrt(v / 2) * sqrt(p_root), sqrt(v / 2) * sqrt(p_leaf)]
    """

    identity: Projection
    detail: Projection
    kind: Projection
    detail_weight: float
    category_weight: float


def raise_to_power(vectors: np.ndarray, power: float) -> np.ndarray:
    """Raise each value to a power and keep its sign."""
    return vectors if power == 1 else np.sign(vectors) * np.abs(vectors) ** power


def fit_projection(vectors: np.ndarray, products: np.ndarray, *, power: float, shrinkage: float) -> Projection:
    """Fit the learned whitening of Radenović et al. (arXiv:1711.02512, section 3.3) to the training photos.

    `vectors` are `(N, D)`; `products` `(N,) int` are equal for photos of one product. Directions in which photos of one
    product differ are scaled down, by C_S^(-1/2). The result is rotated, so that the variance over all photos falls
    from dimension to dimension. C_S, the covariance within products, is shrunk towards a multiple of the identity:

        C_S = (1 - shrinkage) * within + shrinkage * trace(within) / D * identity

    If no product has two photos there is nothing to learn from, and C_S is the identity: a PCA. Few photos span few
    dimensions: the vectors are then shorter, with a warning.
    """
    n, size = vectors.shape
    kept = max(1, min(n - 1, size))
    if kept < size:
        log.warning("%d training photos with %d values each give vectors of %d dimensions, not %d", n, size, kept, size)
    inputs = _Inputs(vectors, products, power)
    mean = sum(block.values.sum(axis=0) for block in inputs) / n
    scale = _whitening(_covariance_within(inputs), size, shrinkage)
    scatter = np.zeros((size, size))
    for block in inputs:
        whitened = (block.values - mean) @ scale
        scatter += whitened.T @ whitened
    _, directions = np.linalg.eigh(scatter / max(1, n - 1))  # ascending
    matrix = directions[:, ::-1][:, :kept].T @ scale
    return Projection(power=power, mean=mean.astype(np.float32), matrix=matrix.astype(np.float32))


@dataclass(frozen=True)
class _Block:
    """Photos in memory at the same time: all of their products."""

    values: np.ndarray  # (n, D) float64, raised to the power
    products: np.ndarray  # (n,) int, from 0


class _Inputs:
    """The photos in blocks, in float64; each iteration reads them again, so that they never are in memory at once."""

    def __init__(self, vectors: np.ndarray, products: np.ndarray, power: float) -> None:
        self._vectors = vectors
        self._products = products
        self._power = power

    def __iter__(self) -> Iterator[_Block]:
        for rows in group_rows(self._products, ROWS_AT_ONCE):
            values = raise_to_power(self._vectors[rows].astype(np.float64), self._power)
            release_pages(self._vectors)
            yield _Block(values=values, products=np.unique(self._products[rows], return_inverse=True)[1])


def group_rows(products: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Yield all rows in ascending blocks of at most `most`, or of one product; a product is never in two."""
    order = np.argsort(products, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(products[order])) + 1, len(order))  # of each product
    start = 0
    while start < len(order):
        n_fitting = np.searchsorted(ends, start + most, side="right")
        first = np.searchsorted(ends, start, side="right")
        end = int(ends[max(n_fitting - 1, first)])
        yield np.sort(order[start:end])
        start = end


def _covariance_within(inputs: _Inputs) -> np.ndarray | None:
    """Return the covariance `(D, D)` of photos around the mean of their product; None if no product has two photos."""
    scatter = np.zeros(())
    degrees_of_freedom = 0
    for block in inputs:
        count = np.bincount(block.products)  # of photos of each product
        has_partner = count[block.products] > 1  # (n,)
        sums = np.zeros((len(count), block.values.shape[1]))
        np.add.at(sums, block.products, block.values)
        differences = (block.values - (sums / count[:, None])[block.products])[has_partner]
        scatter = scatter + differences.T @ differences
        degrees_of_freedom += int(has_partner.sum()) - int((count > 1).sum())
    return scatter / degrees_of_freedom if degrees_of_freedom else None


def _whitening(within: np.ndarray | None, size: int, shrinkage: float) -> np.ndarray:
    """Return C_S^(-1/2) `(size, size)`, symmetric; the identity if there is no covariance within products."""
    identity = np.eye(size)
    if within is None:
        log.warning("no product has two photos: the projection is a PCA, which cannot learn what stays the same")
        return identity
    shrunk = (1 - shrinkage) * within + shrinkage * within.trace() / size * identity
    values, directions = np.linalg.eigh(shrunk)
    return directions * values.clip(min=MIN_VARIANCE) ** -0.5 @ directions.T
