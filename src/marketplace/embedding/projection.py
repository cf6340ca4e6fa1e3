"""The projection from a network's outputs to the vectors that are compared: power, PCA, whitening, unit length."""

import logging
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from marketplace.common.params import Section

log = logging.getLogger(__name__)


class ExtractSettings(Section):
    """The way from a network's outputs to a photo's vector."""

    vectors: Literal["tuned", "untouched", "joined"]
    mirrored: bool
    power: Annotated[float, Field(gt=0, le=1)]
    dimensions: Annotated[int, Field(ge=1)] | None
    whitening: Annotated[float, Field(ge=0, le=1)]


class Projection(nn.Module):
    """Signed power, centring, PCA with whitening, unit length: `(B, D)` to `(B, d)`.

        y = normalise(variances^(-whitening / 2) * directions (sign(x) |x|^power - mean))

    Whitening 1 gives every direction the same variance, 0 leaves them unchanged (Jégou & Chum, 2012,
    doi:10.1007/978-3-642-33709-3_55). A power of 0.5 is the square root
    of RootSIFT (Arandjelović & Zisserman, 2012).
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, power: float, mean: Tensor, matrix: Tensor) -> None:
        super().__init__()
        self.power = power
        self.register_buffer("mean", mean)
        self.register_buffer("matrix", matrix)

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors `(B, D)` to unit-length ones `(B, d)`."""
        return F.normalize((powered(vectors, self.power) - self.mean) @ self.matrix.T)


def powered(vectors: Tensor, power: float) -> Tensor:
    """Each value raised to a power, its sign kept."""
    return vectors if power == 1 else vectors.sign() * vectors.abs().pow(power)


def fit_projection(vectors: Tensor, settings: ExtractSettings) -> Projection:
    """Fit the projection that `extract.*` describes to the vectors `(N, D)` of the training photos.

    Few photos span few dimensions: then there are fewer than asked for, with a warning.
    """
    dimensions = settings.dimensions
    if dimensions is None:
        return Projection(settings.power, torch.zeros(vectors.shape[1]), torch.eye(vectors.shape[1]))
    most = min(len(vectors) - 1, vectors.shape[1])
    if dimensions > most:
        log.warning(
            "a PCA of %d training photos with %d values each gives %d dimensions, not the %d of extract.dimensions",
            *vectors.shape,
            most,
            dimensions,
        )
    from sklearn.decomposition import PCA  # slow to import, and applying a projection does not need it

    pca = PCA(min(dimensions, most), svd_solver="covariance_eigh")
    pca.fit(powered(vectors, settings.power).double().numpy())
    mean, directions, variances = (
        torch.from_numpy(values).float() for values in (pca.mean_, pca.components_, pca.explained_variance_)
    )
    scale = variances.clamp_min(1e-12).pow(-settings.whitening / 2)
    return Projection(settings.power, mean, scale[:, None] * directions)
