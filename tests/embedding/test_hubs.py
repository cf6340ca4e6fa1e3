"""The hub bias, computed one pair at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.embedding.hubs import hub_bias
from marketplace.vectors.unit_length import to_unit_length


def test_candidates_give_nearly_the_hub_bias_of_comparing_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    directions = to_unit_length(rng.normal(size=(40, 16)))
    clusters = directions[rng.integers(0, 40, 2000)]
    vectors = to_unit_length(clusters + 0.1 * rng.normal(size=(2000, 16))).astype(np.float32)
    sha256 = rng.integers(0, 1900, 2000).astype(str)
    exact = hub_bias(vectors, sha256, neighbours=5, weight=0.5)
    monkeypatch.setattr("marketplace.embedding.hubs.EXHAUSTIVE_UP_TO_PHOTOS", 1000)
    np.testing.assert_allclose(hub_bias(vectors, sha256, neighbours=5, weight=0.5), exact, atol=0.01)


@given(
    n=st.integers(1, 20),
    seed=st.integers(0, 1000),
    neighbours=st.integers(1, 25),
    weight=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_the_hub_bias_is_a_share_of_the_mean_of_the_nearest(n: int, seed: int, neighbours: int, weight: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = to_unit_length(rng.normal(size=(n, 4)).astype(np.float32))
    sha256 = rng.integers(0, 2 * n, n).astype(str)
    k = min(neighbours, n - 1)
    expected = []
    for row in range(n):
        similarities = [float(vectors[row] @ vectors[i]) if sha256[i] != sha256[row] else 0.0 for i in range(n)]
        expected.append(weight * sum(sorted(similarities)[-k:]) / k if k else 0.0)
    computed = hub_bias(vectors, sha256, neighbours=neighbours, weight=weight)
    np.testing.assert_allclose(computed, expected, atol=1e-5)
