"""Labels on the map of the catalogue: the names of categories at the places where their products are dense."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from marketplace.recommendation.products import SEPARATOR
from marketplace.serving.answers import MapLabel

if TYPE_CHECKING:  # imported where it is needed, so that `marketplace similar` is fast
    from scipy.spatial import KDTree

RADIUS = 0.07  # of a group; the map is 2 wide
LEAST_PRODUCTS = 5  # in a group
LEAST_SHARE = 0.35  # of the products within the radius
MAX_LABELS = 60  # a screen has space for fewer, and a part of the map for others


def label_groups(points: np.ndarray, paths: Sequence[str]) -> list[MapLabel]:
    """Return labels for the dense groups on a map, the most telling first.

    `points` `(P, 2)` are the places of products, `paths` `(P,)` their category paths. The group of a path is where the
    most of its products are within RADIUS. Paths without a dense group are tried together, as the branch above them.
    Groups are sorted by the number of their products times the share of these among all products there.
    """
    from scipy.spatial import KDTree

    everything = KDTree(points)
    labels: list[tuple[float, MapLabel]] = []
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, path in enumerate(paths):
        rows_of[path].append(row)
    while rows_of:
        names = _name_paths(rows_of)
        branches: dict[str, list[int]] = defaultdict(list)
        for path, rows in rows_of.items():
            size, share, (x, y) = _find_densest(everything, points[rows])
            if size >= LEAST_PRODUCTS and share >= LEAST_SHARE:
                label = MapLabel(text=names[path], category=path.split(SEPARATOR)[0], x=x, y=y)
                labels.append((size * share, label))
            elif path.count(SEPARATOR) > 1:  # a root needs no label: it has a colour
                branches[path.rpartition(SEPARATOR)[0]] += rows
        rows_of = branches
    labels.sort(key=lambda label: (-label[0], label[1].text))
    return [label for _, label in labels[:MAX_LABELS]]


def _find_densest(everything: "KDTree", own: np.ndarray) -> tuple[int, float, list[float]]:
    """Return where the products at the places `own` `(n, 2)` are densest.

    That is the number of them within RADIUS, their share among `everything` there, and their middle.
    """
    from scipy.spatial import KDTree

    near = KDTree(own).query_ball_point(own, RADIUS)
    densest = max(range(len(near)), key=lambda place: len(near[place]))
    size = len(near[densest])
    share = size / everything.query_ball_point(own[densest], RADIUS, return_length=True)
    return size, share, own[near[densest]].mean(axis=0).round(4).tolist()


def _name_paths(paths: Iterable[str]) -> dict[str, str]:
    """Return a name for each path: its last level, or the one above if other branches end in the same word.

    >>> _name_paths(["Cars / Private", "Sofas / Private", "Sofas / Beds"])
    {'Cars / Private': 'Cars', 'Sofas / Private': 'Sofas', 'Sofas / Beds': 'Beds'}
    """
    levels = {path: path.split(SEPARATOR) for path in paths}
    branches = Counter(branch[-1] for branch in levels.values())
    return {
        path: branch[-2] if len(branch) > 1 and branches[branch[-1]] > 1 else branch[-1]
        for path, branch in levels.items()
    }
