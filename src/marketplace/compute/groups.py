"""Connected components: things that belong together because they share something, directly or in a chain."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def number_groups(keys: Sequence[np.ndarray], links: tuple[np.ndarray, np.ndarray] | None = None) -> np.ndarray:
    """Number the groups of N things: `(N,) int`, equal for two things of one group.

    Two things are linked if one of `keys`, each `(N,) int`, is equal for them, or if `links` pairs their positions. A
    group is a connected component of those links.

    >>> number_groups([np.array([0, 0, 1, 2]), np.array([5, 6, 6, 7])])
    array([0, 0, 0, 1], dtype=int32)
    """
    n = len(keys[0])
    # Nodes: the things, then each key's distinct values.
    starts = []
    ends = []
    n_nodes = n
    for key in keys:
        values, codes = np.unique(key, return_inverse=True)
        starts.append(np.arange(n))
        ends.append(n_nodes + codes)
        n_nodes += len(values)
    if links is not None:
        starts.append(links[0])
        ends.append(links[1])
    start = np.concatenate(starts)
    end = np.concatenate(ends)
    graph = coo_array((np.ones(len(start)), (start, end)), shape=(n_nodes, n_nodes))
    _, groups = connected_components(graph, directed=False)
    return groups[:n]
