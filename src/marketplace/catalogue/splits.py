"""Training, validation and test splits that keep groups of photos together."""

import hashlib

import numpy as np
import pandas as pd

SPLITS = ("train", "val", "test")


def assign_splits(table: pd.DataFrame, test: float, val: float, seed: int) -> "pd.Series[str]":
    """Return `train`, `val` or `test` for every row of a table with the columns product_id, category and group.

    Whole groups (see photo_groups) are drawn, category by category: the share `test` of a category's groups, then the
    share `val` of the rest, at least one group each. A group with several categories counts towards its commonest.
    Groups are drawn in the order of a hash of `seed` and their smallest product id, so new listings leave nearly all
    old ones in their splits. Every category must have three groups (see in_rare_categories).
    """
    groups = _summarize_groups(table)
    groups["hash"] = [_hash_product(seed, product_id) for product_id in groups["product_id"]]
    split = pd.Series("train", index=groups.index)
    for category in sorted(table["category"].unique()):
        numbers = groups[groups["category"] == category].sort_values("hash").index
        n_test = _count_in_share(test, len(numbers), n_left=2)
        n_val = _count_in_share(val, len(numbers) - n_test, n_left=1)
        split.loc[numbers[:n_test]] = "test"
        split.loc[numbers[n_test : n_test + n_val]] = "val"
    return pd.Series(split.loc[table["group"]].to_numpy(), index=table.index)


def in_rare_categories(table: pd.DataFrame) -> np.ndarray:
    """`(N,) bool`: photos of categories with fewer groups than there are splits."""
    n_groups = _summarize_groups(table)["category"].value_counts()
    return ~table["category"].isin(n_groups.index[n_groups >= len(SPLITS)]).to_numpy()


def _count_in_share(share: float, n_groups: int, n_left: int) -> int:
    """The number of groups in a share: at least one, and `n_left` groups must be left."""
    return min(max(1, round(n_groups * share)), n_groups - n_left)


def _summarize_groups(table: pd.DataFrame) -> pd.DataFrame:
    """The commonest category and the smallest product id of each group."""
    return table.groupby("group").agg(
        category=("category", lambda names: names.mode().iloc[0]), product_id=("product_id", "min")
    )


def _hash_product(seed: int, product_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:{product_id}".encode()).digest()
