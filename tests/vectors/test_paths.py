"""Vectors of category paths, compared with counting shared levels."""

from itertools import takewhile

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from marketplace.vectors.paths import path_vectors, shared_levels

PATHS = st.lists(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(" / ".join), min_size=1, max_size=30, unique=True
)


def count_shared_levels(path: str, other: str) -> int:
    pairs = zip(path.split(" / "), other.split(" / "), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


@given(PATHS, st.data())
def test_the_inner_product_is_the_share_of_shared_levels(paths: list[str], data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(1, 50), min_size=len(paths), max_size=len(paths)))
    vectors = path_vectors(paths, counts)
    deepest = max(path.count("/") + 1 for path in paths)
    expected = np.array([[count_shared_levels(path, other) / deepest for other in paths] for path in paths])
    np.testing.assert_allclose(shared_levels(paths), expected)
    np.testing.assert_allclose(vectors @ vectors.T, expected, atol=1e-4)


def test_a_large_tree_fits_into_few_dimensions() -> None:
    rng = np.random.default_rng(0)
    paths = sorted({f"{rng.integers(13)} / {rng.integers(20)} / {rng.integers(5)}" for _ in range(400)})
    counts = rng.zipf(1.5, len(paths)).clip(max=1000)
    vectors = path_vectors(paths, counts.tolist())
    assert vectors.shape == (len(paths), 64)
    difference = vectors @ vectors.T - shared_levels(paths)
    weights = np.outer(counts, counts) / counts.sum() ** 2
    assert np.sqrt((weights * difference**2).sum()) < 0.02
