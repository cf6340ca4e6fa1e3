"""The learned whitening: the directions that it scales down and keeps, and too few photos to learn from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from marketplace.embedding.image_model import project
from marketplace.embedding.projection import Projection, Projections, fit_projection, group_rows
from marketplace.inference.outputs import Outputs

PRODUCTS = np.arange(80) // 2


def data(n: int = 80, dimensions: int = 12) -> np.ndarray:
    values = np.random.default_rng(0).standard_normal((n, dimensions), dtype=np.float32)
    return values * np.arange(1, dimensions + 1, dtype=np.float32) + 3


def fit(vectors: np.ndarray, products: np.ndarray, *, shrinkage: float = 0.1) -> Projection:
    return fit_projection(vectors, products, power=1.0, shrinkage=shrinkage)


def apply(projection: Projection, vectors: np.ndarray) -> np.ndarray:
    projections = Projections(
        identity=projection, detail=projection, kind=projection, detail_weight=0.25, category_weight=0.3
    )
    _, kind = project(projections, Outputs(embeddings=vectors, details=vectors))  # without categories: it alone
    return kind


def test_the_power_keeps_signs() -> None:
    projection = Projection(power=0.5, mean=np.zeros(3, np.float32), matrix=np.eye(3, dtype=np.float32))
    expected = np.array([[2.0, -3.0, 0.0]]) / 13**0.5
    np.testing.assert_allclose(apply(projection, np.array([[4, -9, 0]], np.float32)), expected, rtol=1e-6)


def test_without_two_photos_of_a_product_it_is_the_pca_of_scikit_learn(caplog: pytest.LogCaptureFixture) -> None:
    vectors = data()
    projected = apply(fit(vectors, np.arange(80)).cut(5), vectors)
    expected = PCA(5, svd_solver="full").fit_transform(vectors)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs(projected), np.abs(expected), atol=1e-4)  # the sign of a direction is arbitrary
    assert "no product has two photos" in caplog.text


def test_photos_of_a_product_differ_equally_in_every_direction_afterwards() -> None:
    vectors = data(4000)
    products = np.arange(4000) // 2
    projection = fit(vectors, products, shrinkage=1e-6)
    mapped = (vectors - projection.mean) @ projection.matrix.T
    spread = np.cov((mapped[0::2] - mapped[1::2]).T)
    np.testing.assert_allclose(spread / spread.trace() * 12, np.eye(12), atol=0.02)


@given(products=st.lists(st.integers(0, 6), min_size=1, max_size=40), most=st.integers(1, 41))
def test_groups_are_all_rows_with_each_product_in_one(products: list[int], most: int) -> None:
    numbers = np.array(products)
    groups = list(group_rows(numbers, most))
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(products)))
    assert all((np.diff(rows) > 0).all() for rows in groups)
    owners = [set(numbers[rows].tolist()) for rows in groups]
    assert sum(map(len, owners)) == len(set(products))
    assert all(len(rows) <= most or len(own) == 1 for rows, own in zip(groups, owners, strict=True))


@pytest.mark.parametrize("photos_per_product", [1, 2, 5])
def test_photos_in_blocks_give_the_same_projection(photos_per_product: int, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = data(200)
    products = np.random.default_rng(0).permutation(np.arange(200) // photos_per_product)
    whole = fit(vectors, products)
    monkeypatch.setattr("marketplace.embedding.projection.ROWS_AT_ONCE", 17)
    in_blocks = fit(vectors, products)
    np.testing.assert_allclose(in_blocks.mean, whole.mean, rtol=1e-6)
    np.testing.assert_allclose(np.abs(in_blocks.matrix), np.abs(whole.matrix), rtol=1e-4, atol=1e-6)


def test_a_direction_that_tells_products_apart_weighs_more_than_one_that_varies_within_them() -> None:
    """The two directions have the same variance."""
    rng = np.random.default_rng(1)
    of_products = rng.standard_normal(500).repeat(2)
    noise = 0.1 * rng.standard_normal(1000)
    of_photos = rng.standard_normal(1000)
    projection = fit(np.stack([of_products + noise, of_photos], axis=1), np.arange(1000) // 2)
    lengths = np.linalg.norm(projection.matrix, axis=0)
    assert lengths[0] > 3 * lengths[1]


@given(st.sampled_from([0.5, 1.0]), st.sampled_from([None, 3, 12]), st.floats(0.01, 1))
@hypothesis_settings(deadline=None, max_examples=20)
def test_vectors_have_length_1(power: float, dimensions: int | None, shrinkage: float) -> None:
    projection = fit_projection(data(), PRODUCTS, power=power, shrinkage=shrinkage).cut(dimensions)
    projected = apply(projection, data(n=7))
    assert projected.shape == (7, dimensions or 12)
    np.testing.assert_allclose(np.linalg.norm(projected, axis=1), 1, rtol=1e-5)


def test_directions_come_largest_first() -> None:
    projection = fit(data(), PRODUCTS).cut(6)
    variances = ((data() - projection.mean) @ projection.matrix.T).var(axis=0).tolist()
    assert variances == sorted(variances, reverse=True)


def test_few_photos_give_few_dimensions_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    projected = apply(fit(data(9), PRODUCTS[:9]).cut(12), data(9))
    assert projected.shape == (9, 8)
    assert np.isfinite(projected).all()
    assert "9 training photos with 12 values each give vectors of 8 dimensions, not 12" in caplog.text
