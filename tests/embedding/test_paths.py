"""Vectors of category paths, compared with counting shared levels."""

from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.common.errors import MarketplaceError
from marketplace.embedding.paths import PathSpace, fit_path_space, shared_levels

PATHS = st.lists(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(" / ".join), min_size=1, max_size=30, unique=True
)


def count_shared_levels(path: str, other: str) -> int:
    pairs = zip(path.split(" / "), other.split(" / "), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


@given(PATHS, st.data())
def test_the_inner_product_is_the_share_of_shared_levels(paths: list[str], data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(1, 3), min_size=len(paths), max_size=len(paths)))
    vectors = fit_path_space(np.repeat(paths, counts).tolist()).vectors(paths)
    deepest = max(path.count("/") + 1 for path in paths)
    expected = np.array([[count_shared_levels(path, other) for other in paths] for path in paths])
    np.testing.assert_array_equal(shared_levels(paths, paths, deepest), expected)
    np.testing.assert_allclose(vectors @ vectors.T, expected / deepest, atol=1e-4)


def test_a_path_that_was_not_there_is_close_to_the_paths_it_shares_levels_with() -> None:
    space = fit_path_space(["home / chairs / oak", "home / chairs / pine", "home / tables", "toys"])
    new, oak, table, toys = space.vectors(["home / chairs / ash", "home / chairs / oak", "home / tables", "toys"])
    np.testing.assert_allclose([new @ oak, new @ table, new @ toys], [2 / 3, 1 / 3, 0], atol=0.05)
    np.testing.assert_allclose(space.vectors(["unheard of"]), 0, atol=1e-6)


def test_a_space_that_was_written_gives_the_same_vectors(tmp_path: Path) -> None:
    space = fit_path_space(["home / chairs", "home / tables", "toys"])
    space.save(tmp_path / "paths.npz")
    paths = ["home / chairs", "home / lamps", "toys", ""]
    np.testing.assert_array_equal(PathSpace.load(tmp_path / "paths.npz").vectors(paths), space.vectors(paths))


def test_a_space_that_cannot_be_read_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "paths.npz"
    with pytest.raises(MarketplaceError, match=r"paths\.npz is missing: run `dvc repro`"):
        PathSpace.load(path)
    path.write_bytes(b"not an archive")
    with pytest.raises(MarketplaceError, match=r"paths\.npz is damaged .*: delete .*paths\.npz, then run"):
        PathSpace.load(path)


def test_a_large_tree_fits_into_few_dimensions() -> None:
    rng = np.random.default_rng(0)
    paths = sorted({f"{rng.integers(13)} / {rng.integers(20)} / {rng.integers(5)}" for _ in range(400)})
    counts = rng.zipf(1.5, len(paths)).clip(max=1000)
    vectors = fit_path_space(np.repeat(paths, counts).tolist()).vectors(paths)
    assert vectors.shape == (len(paths), 64)
    shared = shared_levels(paths, paths, 3) / 3
    squared_error = (vectors @ vectors.T - shared) ** 2
    weights = np.outer(counts, counts)
    for pairs, tolerance in ((shared > 0, 0.02), (shared == 0, 0.1)):
        assert np.sqrt(np.average(squared_error[pairs], weights=weights[pairs])) < tolerance


def test_a_single_deep_path_does_not_make_all_others_less_similar() -> None:
    paths = ["home / chairs"] * 150 + ["home / tables"] * 50 + ["toys / a / b / c / d / e / f"]
    chairs, tables = fit_path_space(paths).vectors(["home / chairs", "home / tables"])
    np.testing.assert_allclose([chairs @ chairs, chairs @ tables], [1, 0.5], atol=1e-4)
