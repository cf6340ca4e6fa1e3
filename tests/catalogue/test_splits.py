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
    """Groups of images by merging sets until nothing merges: slow, and another way."""
    groups = [{i} for i in range(len(pairs))]
    merged = True
    while merged:
        merged = False
        for a, b in itertools.combinations(groups, 2):
            if any(pairs[i][0] == pairs[j][0] or pairs[i][1] == pairs[j][1] for i in a for j in b):
                groups.remove(b)
                a |= b
                merged = True
                break
    return groups


@given(IMAGES)
def test_groups_are_the_connected_components(pairs: list[tuple[int, int]]) -> None:
    products, photos = ([f"{kind}{pair[side]}" for pair in pairs] for side, kind in ((0, "p"), (1, "s")))
    groups = photo_groups(pd.Series(products, dtype=str), pd.Series(photos, dtype=str))
    found = [set(np.flatnonzero(groups == group)) for group in set(groups)]
    assert sorted(map(sorted, found)) == sorted(map(sorted, components(pairs)))


def table(seed: int, n_products: int = 300, n_categories: int = 5) -> pd.DataFrame:
    """Products of one to three photos in categories of uneven size; some photos are shared by two products."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"p{product:04}", f"c{min(product % 17 % n_categories, n_categories - 1)}", f"sha{product}-{photo}")
        for product in range(n_products)
        for photo in range(rng.integers(1, 4))
    ]
    frame = pd.DataFrame(rows, columns=["product_id", "category", "sha256"])
    copies = rng.integers(len(frame), size=(n_products // 20, 2))
    frame.loc[copies[:, 0], "sha256"] = frame["sha256"].to_numpy()[copies[:, 1]]
    return grouped(frame)


def grouped(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(group=photo_groups(frame["product_id"], frame["sha256"]))


@given(seed=st.integers(0, 10_000), test=st.floats(0.05, 0.5), val=st.floats(0.05, 0.5))
@hypothesis_settings(max_examples=25, deadline=None)
def test_nothing_is_torn_and_every_category_is_everywhere(seed: int, test: float, val: float) -> None:
    frame = table(seed)
    splits = assign_splits(frame, test, val, seed)
    assert set(splits) == {"train", "val", "test"}
    for column in ("product_id", "sha256"):
        assert (splits.groupby(frame[column]).nunique() == 1).all()
    assert splits.groupby(frame["category"]).nunique().eq(3).all()
    groups = (
        frame.assign(split=splits).groupby("group").agg({"category": lambda names: min(names.mode()), "split": "first"})
    )
    for _, drawn in groups.groupby("category")["split"]:
        n_test = min(max(1, round(len(drawn) * test)), len(drawn) - 2)
        n_val = min(max(1, round((len(drawn) - n_test) * val)), len(drawn) - n_test - 1)
        assert ((drawn == "test").sum(), (drawn == "val").sum()) == (n_test, n_val)


def test_the_shares_are_those_of_the_rest() -> None:
    splits = assign_splits(table(1, n_products=3000), test=0.2, val=0.15, seed=42).value_counts(normalize=True)
    assert splits["test"] == pytest.approx(0.2, abs=0.015)
    assert splits["val"] == pytest.approx(0.8 * 0.15, abs=0.015)


def test_a_seed_decides_and_the_order_of_the_rows_does_not() -> None:
    frame = table(2)
    splits = assign_splits(frame, 0.2, 0.15, seed=42)
    shuffled = frame.sample(frac=1, random_state=0)
    pd.testing.assert_series_equal(assign_splits(shuffled, 0.2, 0.15, seed=42).sort_index(), splits)
    assert (assign_splits(frame, 0.2, 0.15, seed=43) != splits).any()


def test_new_listings_leave_nearly_all_others_where_they_were() -> None:
    frame = table(3)
    old = frame[frame["product_id"] < "p0270"]  # a tenth is new
    before, after = (assign_splits(rows, 0.2, 0.15, seed=42) for rows in (old, frame))
    assert (after[old.index] != before).mean() < 0.05


def test_a_category_with_fewer_than_three_groups_is_rare() -> None:
    columns = {"product_id": list("aabbcdef"), "category": ["Tops"] * 4 + ["Juice"] * 4, "sha256": list("12344567")}
    # Tops is the photo 4 with c, a and b: two groups, of which one counts as Juice's.
    frame = grouped(pd.DataFrame(columns))
    assert in_rare_categories(frame).tolist() == [True] * 4 + [False] * 4
