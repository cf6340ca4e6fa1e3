"""Training, validation and test splits that never separate what belongs together."""

import hashlib

import numpy as np
import pandas as pd

SPLITS = ("train", "val", "test")


def assign_splits(table: pd.DataFrame, test: float, val: float, seed: int) -> "pd.Series[str]":
    """`train`, `val` or `test` for every row of product_id, category, group.

    Whole groups (see photo_groups) are drawn, category by category: the share `test` of a category's groups, then the
    share `val` of the rest, at least one group each. A group with several categories counts towards its commonest.
    Groups are drawn in the order of a hash of `seed` and their smallest product id, so new listings leave nearly all
    old ones in the split they were in. Every category must have three groups (see in_rare_categories).
    """
    by_group = _by_group(table)
    by_group["order"] = [_draw(seed, product_id) for product_id in by_group["product_id"]]
    split = pd.Series("train", index=by_group.index)
    for category in sorted(table["category"].unique()):
        drawn = by_group[by_group["category"] == category].sort_values("order").index
        n_test = max(1, round(len(drawn) * test))
        n_test = min(n_test, len(drawn) - 2)
        n_val = min(max(1, round((len(drawn) - n_test) * val)), len(drawn) - n_test - 1)
        split.loc[drawn[:n_test]] = "test"
        split.loc[drawn[n_test : n_test + n_val]] = "val"
    return pd.Series(split.loc[table["group"]].to_numpy(), index=table.index)


def in_rare_categories(table: pd.DataFrame) -> np.ndarray:
    """`(N,) bool`: photos of categories with too few groups for train, val and test to have one each."""
    groups = _by_group(table)["category"].value_counts()
    rare: np.ndarray = ~table["category"].isin(groups.index[groups >= len(SPLITS)]).to_numpy()
    return rare


def _by_group(table: pd.DataFrame) -> pd.DataFrame:
    return table.groupby("group").agg(
        category=("category", lambda names: names.mode().iloc[0]), product_id=("product_id", "min")
    )


def _draw(seed: int, product_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:{product_id}".encode()).digest()
