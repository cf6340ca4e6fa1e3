"""The map of the catalogue: like beside like, whatever there is to lay out."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from marketplace.catalogue_map import places
from marketplace.catalogue_map.places import catalogue_map, product_vectors


def test_the_nearest_on_the_map_are_of_the_same_kind() -> None:
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.arange(6), 40)
    vectors = 4 * np.eye(6, 64)[kinds] + rng.standard_normal((240, 64)) / 2
    order = rng.permutation(240)

    found = catalogue_map([f"p{number:03}" for number in range(240)], vectors[order])

    points, of_kind = found[["x", "y"]].to_numpy(), kinds[order]
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (of_kind[distances.argmin(axis=1)] == of_kind).mean() > 0.98
    assert found["product_id"].tolist() == [f"p{number:03}" for number in range(240)]
    assert np.abs(points).max() == 1


@settings(max_examples=12, deadline=None)
@given(n=st.integers(1, 12), equal=st.booleans())
@example(n=8, equal=True)  # crashed scikit-learn
def test_few_products_and_equal_ones_have_places_too(n: int, equal: bool) -> None:
    vectors = np.ones((n, 5)) if equal else np.random.default_rng(n).standard_normal((n, 5))
    points = catalogue_map([str(number) for number in range(n)], vectors)[["x", "y"]].to_numpy()
    assert points.shape == (n, 2)
    assert np.isfinite(points).all() and np.abs(points).max() <= 1


def test_many_copies_of_a_product_have_places() -> None:
    vectors = np.random.default_rng(3).standard_normal((300, 20))
    vectors[::2] = vectors[0]
    found = catalogue_map([str(number) for number in range(300)], vectors)
    assert np.isfinite(found[["x", "y"]].to_numpy()).all()


def test_the_same_vectors_have_the_same_places() -> None:
    vectors = np.random.default_rng(1).standard_normal((60, 20))
    ids = [str(number) for number in range(60)]
    pd.testing.assert_frame_equal(catalogue_map(ids, vectors), catalogue_map(ids, vectors))


def test_a_large_catalogue_is_shown_in_part_and_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MOST_PLACES", 5)
    found = catalogue_map([str(number) for number in range(101)], np.random.default_rng(2).standard_normal((101, 9)))
    assert found["product_id"].tolist() == ["0", "25", "50", "75", "100"]


def test_a_product_is_the_mean_of_its_photos_beside_its_words() -> None:
    photos = pd.DataFrame({"product_id": ["b", "a", "b"]})
    kinds = np.array([[1.0, 3.0], [5.0, np.nan], [3.0, 5.0]])
    ids, vectors = product_vectors(photos, kinds, np.array([[7.0], [8.0]]))
    assert ids == ["a", "b"]
    assert vectors.tolist() == [[5, 0, 7], [2, 4, 8]]
