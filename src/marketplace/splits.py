"""Train, validation and test, with nothing that belongs together on two sides."""

import hashlib

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from marketplace.errors import MarketplaceError


def photo_groups(product_ids: "pd.Series[str]", sha256: "pd.Series[str]") -> np.ndarray:
    """Number the groups that must stay together: `(N,) int`, equal for two images of one group.

    Images are linked when they show one product or are byte-identical; a group is a connected component of those
    links, so a photo shared by two products joins all photos of both.
    """
    n = len(product_ids)
    products, photos = pd.factorize(product_ids)[0], pd.factorize(sha256)[0]
    # Nodes: the images, then the products, then the distinct photos.
    ends = np.concatenate([n + products, n + products.max(initial=-1) + 1 + photos])
    starts = np.tile(np.arange(n), 2)
    size = int(ends.max(initial=-1)) + 1
    links = coo_array((np.ones(2 * n), (starts, ends)), shape=(size, size))
    groups: np.ndarray = connected_components(links, directed=False)[1][:n]
    return groups


def assign_splits(table: pd.DataFrame, test: float, val: float, seed: int) -> "pd.Series[str]":
    """`train`, `val` or `test` for every row of image_id, product_id, category, sha256.

    Whole groups (see photo_groups) are drawn, category by category: the share `test` of a category's groups, then the
    share `val` of the rest, at least one group each. A group with several categories counts for its commonest.
    Groups are drawn in the order of a hash of `seed` and their smallest product id, so new listings leave nearly all
    old ones on the side where they were.

    Raises MarketplaceError when a category has fewer than three groups.
    """
    groups = photo_groups(table["product_id"], table["sha256"])
    by_group = (
        table.assign(group=groups)
        .groupby("group")
        .agg(category=("category", lambda names: names.mode().iloc[0]), product_id=("product_id", "min"))
    )
    by_group["order"] = [_draw(seed, product_id) for product_id in by_group["product_id"]]
    split = pd.Series("train", index=by_group.index)
    for category in sorted(table["category"].unique()):
        drawn = by_group[by_group["category"] == category].sort_values("order").index
        if len(drawn) < 3:
            raise MarketplaceError(
                f"category {category!r} has {len(drawn)} group(s) of photos that can be split (products that share a "
                "photo count as one), but train, val and test need one each: add listings, or take the category out."
            )
        n_test = max(1, round(len(drawn) * test))
        n_test = min(n_test, len(drawn) - 2)
        n_val = min(max(1, round((len(drawn) - n_test) * val)), len(drawn) - n_test - 1)
        split.loc[drawn[:n_test]] = "test"
        split.loc[drawn[n_test : n_test + n_val]] = "val"
    result = pd.Series(split.loc[groups].to_numpy(), index=table.index)
    for column in ("product_id", "sha256"):
        torn = result.groupby(table[column]).nunique() > 1
        assert not torn.any(), f"{column} {torn.idxmax()} is on two sides of the split"
    return result


def _draw(seed: int, product_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:{product_id}".encode()).digest()
