"""The learned whitening: the directions that it scales down and keeps, and too few photos to learn from."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from marketplace.embedding.projection import Projection, fit_projection

PRODUCTS = torch.arange(80) // 2


def data(n: int = 80, dimensions: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, dimensions, generator=generator) * torch.arange(1, dimensions + 1) + 3


def fit(
    vectors: torch.Tensor, products: torch.Tensor, *, shrinkage: float = 0.1, dimensions: int | None = None
) -> Projection:
    return fit_projection(vectors, products, power=1.0, shrinkage=shrinkage, dimensions=dimensions)


def test_the_power_keeps_signs() -> None:
    projection = Projection(0.5, torch.zeros(3), torch.eye(3))
    torch.testing.assert_close(projection(torch.tensor([[4.0, -9.0, 0.0]])), torch.tensor([[2.0, -3.0, 0.0]]) / 13**0.5)


def test_without_two_photos_of_a_product_it_is_the_pca_of_scikit_learn(caplog: pytest.LogCaptureFixture) -> None:
    vectors = data()
    projected = fit(vectors, torch.arange(80), dimensions=5)(vectors).numpy()
    expected = PCA(5, svd_solver="full").fit_transform(vectors.numpy())
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs(projected), np.abs(expected), atol=1e-4)  # the sign of a direction is arbitrary
    assert "no product has two photos" in caplog.text


def test_photos_of_a_product_differ_equally_in_every_direction_afterwards() -> None:
    vectors = data(4000)
    products = torch.arange(4000) // 2
    projection = fit(vectors, products, shrinkage=1e-6)
    mapped = (vectors - projection.mean) @ projection.matrix.T
    spread = (mapped[0::2] - mapped[1::2]).T.cov()
    torch.testing.assert_close(spread / spread.trace() * 12, torch.eye(12), atol=0.02, rtol=0)


def test_a_direction_that_tells_products_apart_weighs_more_than_one_that_varies_within_them() -> None:
    """The two directions have the same variance."""
    generator = torch.Generator().manual_seed(1)
    of_products = torch.randn(500, generator=generator).repeat_interleave(2)
    noise = 0.1 * torch.randn(1000, generator=generator)
    of_photos = torch.randn(1000, generator=generator)
    vectors = torch.stack([of_products + noise, of_photos], dim=1)
    projection = fit(vectors, torch.arange(1000) // 2)
    lengths = projection.matrix.norm(dim=0)
    assert lengths[0] > 3 * lengths[1]


@given(st.sampled_from([0.5, 1.0]), st.sampled_from([None, 3, 12]), st.floats(0.01, 1))
@hypothesis_settings(deadline=None)
def test_vectors_have_length_1(power: float, dimensions: int | None, shrinkage: float) -> None:
    projection = fit_projection(data(), PRODUCTS, power=power, shrinkage=shrinkage, dimensions=dimensions)
    projected = projection(data(n=7))
    assert projected.shape == (7, dimensions or 12)
    torch.testing.assert_close(projected.norm(dim=1), torch.ones(7))


def test_directions_come_largest_first() -> None:
    projection = fit(data(), PRODUCTS, dimensions=6)
    variances = ((data() - projection.mean) @ projection.matrix.T).var(dim=0).tolist()
    assert variances == sorted(variances, reverse=True)


def test_few_photos_give_few_dimensions_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    projected = fit(data(9), PRODUCTS[:9], dimensions=12)(data(9))
    assert projected.shape == (9, 8)
    assert projected.isfinite().all()
    assert "9 training photos with 12 values each give vectors of 8 dimensions, not 12" in caplog.text
