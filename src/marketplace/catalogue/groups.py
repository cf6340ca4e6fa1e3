"""Photos that belong together: of one product, or byte-identical."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def photo_groups(product_ids: "pd.Series[str]", sha256: "pd.Series[str]") -> np.ndarray:
    """Number the groups that must stay together: `(N,) int`, equal for two photos of one group.

    Photos are linked if they show one product or are byte-identical; a group is a connected component of those links,
    so a photo that two products share joins all photos of both.
    """
    n = len(product_ids)
    products, photos = pd.factorize(product_ids)[0], pd.factorize(sha256)[0]
    # Nodes: the rows, then the products, then the distinct photos.
    ends = np.concatenate([n + products, n + products.max(initial=-1) + 1 + photos])
    starts = np.tile(np.arange(n), 2)
    size = int(ends.max(initial=-1)) + 1
    links = coo_array((np.ones(2 * n), (starts, ends)), shape=(size, size))
    groups: np.ndarray = connected_components(links, directed=False)[1][:n]
    return groups
