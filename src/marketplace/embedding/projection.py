"""The projection from a network's outputs to the vectors that are compared: power, learned whitening, unit length."""

import logging
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from marketplace.common.params import Section

log = logging.getLogger(__name__)
MIN_DIVISOR = 1e-12


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


class Projection(nn.Module):
    """Signed power, centring, a linear map, unit length: `(B, D)` to `(B, d)`.

        y = normalise(matrix (sign(x) |x|^power - mean))

    A power of 0.5 is the square root of RootSIFT (Arandjelović & Zisserman, 2012).
    """

    mean: Tensor  # (D,)
    matrix: Tensor  # (d, D)

    def __init__(self, power: float, mean: Tensor, matrix: Tensor) -> None:
        super().__init__()
        self.power = power
        self.register_buffer("mean", mean)
        self.register_buffer("matrix", matrix)

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors `(B, D)` to unit-length ones `(B, d)`."""
        return F.normalize((raise_to_power(vectors, self.power) - self.mean) @ self.matrix.T)

    def contributions(self, maps: Tensor) -> Tensor:
        """Return the contribution of each position of feature maps `(B, D, H, W)` to their vector: `(B, H, W, d)`.

        The mean over positions is the result of `forward` for the mean m of the maps. Each position has its share of
        the power, since |m|^power is the mean over positions of sign(m) f |m|^(power - 1), so that the sum is exact.
        """
        means = maps.mean(dim=(2, 3))  # (B, D)
        per_unit = means.abs().clamp_min(MIN_DIVISOR).pow(self.power - 1)  # (B, D)
        shares = maps * per_unit[:, :, None, None] - self.mean[:, None, None]  # (B, D, H, W)
        length = ((raise_to_power(means, self.power) - self.mean) @ self.matrix.T).norm(dim=1)  # (B,)
        return shares.permute(0, 2, 3, 1) @ self.matrix.T / length.clamp_min(MIN_DIVISOR)[:, None, None, None]


def raise_to_power(vectors: Tensor, power: float) -> Tensor:
    """Raise each value to a power and keep its sign."""
    return vectors if power == 1 else vectors.sign() * vectors.abs().pow(power)


def fit_projection(
    vectors: Tensor, products: Tensor, *, power: float, shrinkage: float, dimensions: int | None = None
) -> Projection:
    """Fit the learned whitening of Radenović et al. (arXiv:1711.02512, section 3.3) to the training photos.

    `vectors` are `(N, D)`; `products` `(N,) int` are equal for photos of one product. Directions in which photos of one
    product differ are scaled down, by C_S^(-1/2). Of the rotated result, the `dimensions` with the largest variance
    over all photos are kept (None: all). C_S, the covariance within products, is shrunk towards a multiple of the
    identity:

        C_S = (1 - shrinkage) * within + shrinkage * trace(within) / D * identity

    If no product has two photos there is nothing to learn from, and C_S is the identity: a PCA. Few photos span few
    dimensions: the vectors are then shorter than `dimensions`, with a warning.
    """
    n, size = vectors.shape
    requested = dimensions or size
    kept = max(1, min(requested, n - 1, size))
    if kept < requested:
        log.warning(
            "%d training photos with %d values each give vectors of %d dimensions, not %d", n, size, kept, requested
        )
    inputs = raise_to_power(vectors, power).double()
    mean = inputs.mean(dim=0)
    scale = _whitening(_covariance_within(inputs, products), size, shrinkage)
    whitened = (inputs - mean) @ scale
    _, directions = torch.linalg.eigh(whitened.T @ whitened / max(1, n - 1))  # ascending
    matrix = directions.flip(1)[:, :kept].T @ scale
    return Projection(power, mean.float(), matrix.float())


def _covariance_within(inputs: Tensor, products: Tensor) -> Tensor | None:
    """Return the covariance `(D, D)` of photos around the mean of their product; None if no product has two photos."""
    count = torch.bincount(products).double()  # of photos of each product
    sums = torch.zeros(len(count), inputs.shape[1], dtype=torch.double).index_add_(0, products, inputs)
    has_partner = count[products] > 1  # (N,)
    if not has_partner.any():
        return None
    differences = (inputs - (sums / count.clamp_min(1)[:, None])[products])[has_partner]
    degrees_of_freedom = int(has_partner.sum()) - int((count > 1).sum())
    return differences.T @ differences / degrees_of_freedom


def _whitening(within: Tensor | None, size: int, shrinkage: float) -> Tensor:
    """Return C_S^(-1/2) `(size, size)`, symmetric; the identity if there is no covariance within products."""
    identity = torch.eye(size, dtype=torch.double)
    if within is None:
        log.warning("no product has two photos: the projection is a PCA, which cannot learn what stays the same")
        return identity
    shrunk = (1 - shrinkage) * within + shrinkage * within.trace() / size * identity
    values, directions = torch.linalg.eigh(shrunk)
    return directions * values.clamp_min(MIN_DIVISOR).pow(-0.5) @ directions.T
