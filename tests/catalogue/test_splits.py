"""Splits: no group is in two of them, every category is in all, and new listings move few old ones."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketplace.catalogue.groups import photo_groups
from marketplace.catalogue.splits import assign_splits, in_rare_categories

IMAGES = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=25)


def components(pairs: list[tuple[int, int]]) -> list[set[int]]:
    """Group photos, given as (product, file), in another way: merge sets until none can be merged."""
    groups = [{i} for i in range(len(pairs))]
    merged = True
    while merged:
        merged = False
        for first, second in itertools.combinations(groups, 2):
            if any(pairs[i][0] == pairs[j][0] or pairs[i][1] == pairs[j][1] for i in first for j in second):
                groups.remove(second)
                first |= second
                merged = True
                break
    return groups


@given(IMAGES)
def test_groups_are_the_connected_components(pairs: list[tuple[int, int]]) -> None:
    product_ids = pd.Series([f"p{product}" for product, _ in pairs], dtype=str)
    sha256 = pd.Series([f"s{file}" for _, file in pairs], dtype=str)
    numbers = photo_groups(product_ids, sha256)
    groups = [set(np.flatnonzero(numbers == number)) for number in set(numbers)]
    assert sorted(map(sorted, groups)) == sorted(map(sorted, components(pairs)))


def make_photos(seed: int, n_products: int = 300, n_categories: int = 5) -> pd.DataFrame:
    """Make products with one to three photos in categories of uneven size; some products share a photo."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"p{product:04}", f"c{min(product % 17 % n_categories, n_categories - 1)}", f"sha{product}-{photo}")
        for product in range(n_products)
        for photo in range(rng.integers(1, 4))
    ]
    frame = pd.DataFrame(rows, columns=["product_id", "category", "sha256"])
    copies = rng.integers(len(frame), size=(n_products // 20, 2))
    frame.loc[copies[:, 0], "sha256"] = frame["sha256"].to_numpy()[copies[:, 1]]
    return with_groups(frame)


def with_groups(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(group=photo_groups(frame["product_id"], frame["sha256"]))


@given(seed=st.integers(0, 10_000), test=st.floats(0.05, 0.5), val=st.floats(0.05, 0.5))
@hypothesis_settings(max_examples=25, deadline=None)
def test_groups_stay_together_and_every_category_is_in_every_split(seed: int, test: float, val: float) -> None:
    frame = make_photos(seed)
    splits = assign_splits(frame, test, val, seed)
    assert set(splits) == {"train", "val", "test"}
    for column in ("product_id", "sha256"):
        assert (splits.groupby(frame[column]).nunique() == 1).all()
    assert splits.groupby(frame["category"]).nunique().eq(3).all()
    groups = (
        frame.assign(split=splits).groupby("group").agg({"category": lambda names: min(names.mode()), "split": "first"})
    )
    for _, in_category in groups.groupby("category")["split"]:
        n_groups = len(in_category)
        n_test = min(max(1, round(n_groups * test)), n_groups - 2)
        n_val = min(max(1, round((n_groups - n_test) * val)), n_groups - n_test - 1)
        assert ((in_category == "test").sum(), (in_category == "val").sum()) == (n_test, n_val)


def test_the_validation_share_is_a_share_of_the_rest() -> None:
    splits = assign_splits(make_photos(1, n_products=3000), test=0.2, val=0.15, seed=42).value_counts(normalize=True)
    assert splits["test"] == pytest.approx(0.2, abs=0.015)
    assert splits["val"] == pytest.approx(0.8 * 0.15, abs=0.015)


def test_splits_depend_on_the_seed_and_not_on_the_order_of_rows() -> None:
    frame = make_photos(2)
    splits = assign_splits(frame, 0.2, 0.15, seed=42)
    shuffled = frame.sample(frac=1, random_state=0)
    pd.testing.assert_series_equal(assign_splits(shuffled, 0.2, 0.15, seed=42).sort_index(), splits)
    assert (assign_splits(frame, 0.2, 0.15, seed=43) != splits).any()


def test_new_listings_move_few_old_ones() -> None:
    frame = make_photos(3)
    old = frame[frame["product_id"] < "p0270"]  # a tenth is new
    before = assign_splits(old, 0.2, 0.15, seed=42)
    after = assign_splits(frame, 0.2, 0.15, seed=42)
    assert (after[old.index] != before).mean() < 0.05


def test_a_category_with_fewer_than_three_groups_is_rare() -> None:
    columns = {"product_id": list("aabbcdef"), "category": ["Tops"] * 4 + ["Juice"] * 4, "sha256": list("12344567")}
    # Tops has two groups: a, and b with c, which share photo 4. Juice has three: d, e and f.
    frame = with_groups(pd.DataFrame(columns))
    assert in_rare_categories(frame).tolist() == [True] * 4 + [False] * 4
