"""Photos that belong together: of one product, byte-identical or near-identical."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def photo_groups(
    product_ids: "pd.Series[str]", sha256: "pd.Series[str]", near_duplicates: pd.DataFrame | None = None
) -> np.ndarray:
    """Number the groups that must stay together: `(N,) int`, equal for two photos of one group.

    Photos are linked if they show one product, are byte-identical, or are a pair (first, second) of `near_duplicates`.
    A group is a connected component of those links, so a photo that two products share joins all photos of both.
    """
    n = len(product_ids)
    products, photos = pd.factorize(product_ids)[0], pd.factorize(sha256)[0]
    # Nodes: the rows, then the products, then the distinct photos.
    ends = np.concatenate([n + products, n + products.max(initial=-1) + 1 + photos])
    starts = np.tile(np.arange(n), 2)
    size = int(ends.max(initial=-1)) + 1
    if near_duplicates is not None:
        starts = np.concatenate([starts, near_duplicates["first"]])
        ends = np.concatenate([ends, near_duplicates["second"]])
    links = coo_array((np.ones(len(starts)), (starts, ends)), shape=(size, size))
    groups: np.ndarray = connected_components(links, directed=False)[1][:n]
    return groups
