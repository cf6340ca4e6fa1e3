"""The labels on the map."""

import numpy as np

from marketplace.serving.map_labels import LEAST_PRODUCTS, RADIUS, label_groups


def blob(x: float, y: float, n: int) -> np.ndarray:
    """Places around a point, all within a third of the radius of a group."""
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.array([x, y]) + RADIUS / 3 * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_dense_groups_are_named_where_they_are() -> None:
    rng = np.random.default_rng(0)
    points = [blob(-0.5, 0.5, 30), blob(0.6, -0.4, 20), rng.uniform(-1, 1, (30, 2)), blob(0, 0, LEAST_PRODUCTS - 1)]
    paths = ["Sport / Bicycles"] * 30 + ["Home / Sofas"] * 20 + ["Home / Lamps"] * 30 + ["Rare"] * (LEAST_PRODUCTS - 1)
    bicycles, sofas = label_groups(np.vstack(points), paths)
    assert (bicycles.text, bicycles.category) == ("Bicycles", "Sport")
    assert (sofas.text, sofas.category) == ("Sofas", "Home")
    assert np.hypot(bicycles.x + 0.5, bicycles.y - 0.5) < RADIUS / 3
    assert np.hypot(sofas.x - 0.6, sofas.y + 0.4) < RADIUS / 3


def test_a_group_among_more_others_has_no_name() -> None:
    points = np.vstack([blob(0, 0, 10), blob(0, 0, 40)])
    labels = label_groups(points, ["A / Few"] * 10 + ["A / Many"] * 40)
    assert [label.text for label in labels] == ["Many"]


def test_small_groups_have_the_name_of_their_branch() -> None:
    points = np.vstack([blob(0, 0, 4), blob(0.01, 0, 4), blob(0, 0.01, 3), blob(0.5, 0.5, 4)])
    beds = ["Home / Beds / Single"] * 4 + ["Home / Beds / Double"] * 4 + ["Home / Beds / King"] * 3
    assert [label.text for label in label_groups(points, [*beds, *["Home / Rugs"] * 4])] == ["Beds"]


def test_an_empty_map_has_no_labels() -> None:
    assert label_groups(np.empty((0, 2)), []) == []
