"""The projection from a network's outputs to the vectors that are compared: power, learned whitening, unit length."""

import logging
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import Field

from marketplace.common.params import Section

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
    inputs = raise_to_power(vectors.astype(np.float64), power)
    mean = inputs.mean(axis=0)
    scale = _whitening(_covariance_within(inputs, products), size, shrinkage)
    whitened = (inputs - mean) @ scale
    _, directions = np.linalg.eigh(whitened.T @ whitened / max(1, n - 1))  # ascending
    matrix = directions[:, ::-1][:, :kept].T @ scale
    return Projection(power=power, mean=mean.astype(np.float32), matrix=matrix.astype(np.float32))


def _covariance_within(inputs: np.ndarray, products: np.ndarray) -> np.ndarray | None:
    """Return the covariance `(D, D)` of photos around the mean of their product; None if no product has two photos."""
    count = np.bincount(products)  # of photos of each product
    has_partner = count[products] > 1  # (N,)
    if not has_partner.any():
        return None
    sums = np.zeros((len(count), inputs.shape[1]))
    np.add.at(sums, products, inputs)
    differences = (inputs - (sums / count.clip(min=1)[:, None])[products])[has_partner]
    degrees_of_freedom = int(has_partner.sum()) - int((count > 1).sum())
    return differences.T @ differences / degrees_of_freedom


def _whitening(within: np.ndarray | None, size: int, shrinkage: float) -> np.ndarray:
    """Return C_S^(-1/2) `(size, size)`, symmetric; the identity if there is no covariance within products."""
    identity = np.eye(size)
    if within is None:
        log.warning("no product has two photos: the projection is a PCA, which cannot learn what stays the same")
        return identity
    shrunk = (1 - shrinkage) * within + shrinkage * within.trace() / size * identity
    values, directions = np.linalg.eigh(shrunk)
    return directions * values.clip(min=MIN_VARIANCE) ** -0.5 @ directions.T
