"""The map of the catalogue: similar products near each other, whatever the vectors."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from marketplace.catalogue_map import places
from marketplace.catalogue_map.places import lay_out, product_vectors


def numbered_ids(n: int) -> list[str]:
    return [str(number) for number in range(n)]


def test_the_nearest_products_on_the_map_are_of_the_same_kind() -> None:
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.arange(6), 40)
    vectors = 4 * np.eye(6, 64)[kinds] + rng.standard_normal((240, 64)) / 2
    order = rng.permutation(240)
    product_ids = [f"p{number:03}" for number in range(240)]

    layout = lay_out(product_ids, vectors[order])

    points = layout[["x", "y"]].to_numpy()
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    kind_of_point = kinds[order]
    assert (kind_of_point[distances.argmin(axis=1)] == kind_of_point).mean() > 0.98
    assert layout["product_id"].tolist() == product_ids
    assert np.abs(points).max() == 1


@settings(max_examples=12, deadline=None)
@given(n=st.integers(1, 12), equal=st.booleans())
@example(n=8, equal=True)  # crashed scikit-learn
def test_few_products_and_equal_ones_have_places_too(n: int, equal: bool) -> None:
    vectors = np.ones((n, 5)) if equal else np.random.default_rng(n).standard_normal((n, 5))
    points = lay_out(numbered_ids(n), vectors)[["x", "y"]].to_numpy()
    assert points.shape == (n, 2)
    assert np.isfinite(points).all()
    assert np.abs(points).max() <= 1


def test_many_copies_of_a_product_have_places() -> None:
    vectors = np.random.default_rng(3).standard_normal((300, 20))
    vectors[::2] = vectors[0]
    layout = lay_out(numbered_ids(300), vectors)
    assert np.isfinite(layout[["x", "y"]].to_numpy()).all()


def test_the_same_vectors_have_the_same_places() -> None:
    vectors = np.random.default_rng(1).standard_normal((60, 20))
    pd.testing.assert_frame_equal(lay_out(numbered_ids(60), vectors), lay_out(numbered_ids(60), vectors))


def test_a_large_catalogue_is_shown_in_part_and_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MAX_PLACES", 5)
    layout = lay_out(numbered_ids(101), np.random.default_rng(2).standard_normal((101, 9)))
    assert layout["product_id"].tolist() == ["0", "25", "50", "75", "100"]


def test_a_products_vector_is_the_mean_of_its_photos_and_its_text() -> None:
    photos = pd.DataFrame({"product_id": ["b", "a", "b"]})
    kinds = np.array([[1.0, 3.0], [5.0, np.nan], [3.0, 5.0]])
    vectors = product_vectors(photos, kinds, texts=np.array([[7.0], [8.0]]))
    assert vectors.tolist() == [[5, 0, 7], [2, 4, 8]]  # of a, then of b
