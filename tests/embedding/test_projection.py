from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from marketplace.embedding.projection import ExtractSettings, fit_projection

NOTHING = ExtractSettings(vectors="tuned", mirrored=False, power=1.0, dimensions=None, whitening=0.0)


def data(n: int = 80, dimensions: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, dimensions, generator=generator) * torch.arange(1, dimensions + 1) + 3


def test_without_a_pca_vectors_are_only_scaled_to_length_1() -> None:
    vectors = data()
    projected = fit_projection(vectors, NOTHING)(vectors)
    torch.testing.assert_close(projected, vectors / vectors.norm(dim=1, keepdim=True))


def test_the_power_keeps_signs() -> None:
    settings = NOTHING.model_copy(update={"power": 0.5})
    projected = fit_projection(data(), settings)(torch.tensor([[4.0, -9.0] + [0.0] * 10]))
    torch.testing.assert_close(projected[0, :2], torch.tensor([2.0, -3.0]) / 13**0.5)


@pytest.mark.parametrize("whitening", [0.0, 1.0])
def test_the_ends_are_what_scikit_learn_gives(whitening: float) -> None:
    vectors = data()
    settings = NOTHING.model_copy(update={"dimensions": 5, "whitening": whitening})
    expected = PCA(5, whiten=bool(whitening), svd_solver="full").fit_transform(vectors.numpy())
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(fit_projection(vectors, settings)(vectors).numpy(), expected, atol=1e-4)


def test_whitening_evens_out_variances() -> None:
    vectors, spreads = data(4000), []
    for whitening in (0.0, 0.5, 1.0):
        projection = fit_projection(vectors, NOTHING.model_copy(update={"dimensions": 6, "whitening": whitening}))
        std = ((vectors - projection.mean) @ projection.matrix.T).std(dim=0)
        spreads.append((std.max() / std.min()).item())
    assert spreads[2] == pytest.approx(1, abs=1e-3)
    assert spreads[1] == pytest.approx(spreads[0] ** 0.5, rel=1e-3)


@given(st.sampled_from([0.5, 1.0]), st.sampled_from([None, 3, 12]), st.floats(0, 1))
def test_vectors_have_length_1(power: float, dimensions: int | None, whitening: float) -> None:
    settings = NOTHING.model_copy(update={"power": power, "dimensions": dimensions, "whitening": whitening})
    projected = fit_projection(data(), settings)(data(n=7))
    assert projected.shape == (7, dimensions or 12)
    torch.testing.assert_close(projected.norm(dim=1), torch.ones(7))


def test_directions_come_largest_first() -> None:
    projection = fit_projection(data(), NOTHING.model_copy(update={"dimensions": 6}))
    variances = ((data() - projection.mean) @ projection.matrix.T).var(dim=0).tolist()
    assert all(one >= other for one, other in pairwise(variances))


def test_few_photos_give_few_dimensions_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    for vectors, most in ((data(80), 12), (data(9), 8)):
        projected = fit_projection(vectors, NOTHING.model_copy(update={"dimensions": 13, "whitening": 1.0}))(vectors)
        assert projected.shape == (len(vectors), most)
        assert projected.isfinite().all()
        assert f"gives {most} dimensions, not the 13 of extract.dimensions" in caplog.text
