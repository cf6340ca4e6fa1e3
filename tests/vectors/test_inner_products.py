"""Similarities in blocks: the same as from one product of matrices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.compute import scratch
from marketplace.vectors import inner_products as module
from marketplace.vectors.inner_products import cut_questions, inner_products, usable_unit_vectors


@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_blocks_make_no_difference(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "ROWS_AT_ONCE", at_once)
    vectors = np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32)
    vectors[3] = 0
    vectors[7, 2] = np.nan
    unit = usable_unit_vectors(vectors)
    lengths = np.linalg.norm(unit, axis=1)
    np.testing.assert_allclose(np.delete(lengths, [3, 7]), 1, rtol=1e-6)
    assert np.isfinite(unit).all()
    assert not unit[3].any()
    np.testing.assert_array_equal(usable_unit_vectors(vectors, np.array([9, 2])), unit[[9, 2]])
    np.testing.assert_allclose(inner_products(unit[:4], unit), np.einsum("qd,nd->qn", unit[:4], unit), atol=1e-6)


@given(n_questions=st.integers(0, 60), n_vectors=st.integers(0, 200))
def test_questions_are_asked_in_groups_that_fit_into_memory(n_questions: int, n_vectors: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "QUESTIONS_AT_ONCE", 20)
        patch.setattr(module, "SIMILARITIES_AT_ONCE", 300)
        groups = list(cut_questions(n_questions, n_vectors))
        asked = [number for group in groups for number in range(n_questions)[group]]
        assert asked == list(range(n_questions))
        assert all(group.stop - group.start in range(1, 21) for group in groups)
        assert all((group.stop - group.start) * n_vectors <= 300 or group.stop - group.start == 1 for group in groups)
