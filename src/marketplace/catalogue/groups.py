"""Photos that belong together: they show one product, or are identical or nearly identical."""

import numpy as np
import pandas as pd

from marketplace.compute.groups import number_groups


def photo_groups(
    product_ids: "pd.Series[str]", sha256: "pd.Series[str]", near_duplicates: pd.DataFrame | None = None
) -> np.ndarray:
    """Number the groups of photos that must stay together: `(N,) int`, equal for two photos of one group.

    Photos are linked if they show one product, are byte-identical, or are a pair (first, second) of `near_duplicates`.
    A group is a connected component of these links, so a photo of two products joins all photos of both.
    """
    keys = [pd.factorize(product_ids)[0], pd.factorize(sha256)[0]]
    if near_duplicates is None:
        return number_groups(keys)
    return number_groups(keys, (near_duplicates["first"].to_numpy(), near_duplicates["second"].to_numpy()))
