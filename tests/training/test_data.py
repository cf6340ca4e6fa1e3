"""Training data: how the table becomes splits, and the order of the images."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from helpers.training_runs import COLOURS
from hypothesis import given
from hypothesis import strategies as st

from marketplace.training.data import Split, cut_into_batches, read_training_data, shuffle


def test_training_data_follows_the_table(sentence_model: Path, tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "label": [2, 0, 1, 2],
            "split": ["val", "train", "test", "train"],
            "product_id": ["p", "q", "r", "q"],
            "product_name": ["A cup", "Two chairs", "A lamp", ""],
            "category_path": ["c / new", "a / x", "b", "c / y"],
        }
    )
    table.to_parquet(tmp_path / "table.parquet")
    (tmp_path / "images").mkdir()
    for shard, n in enumerate((1, 3)):
        np.save(tmp_path / f"images/{shard:03}.npy", np.zeros((n, 32, 32, 3), np.uint8))
    data = read_training_data(tmp_path / "images", tmp_path / "table.parquet", COLOURS, sentence_model=sentence_model)
    assert data.images.shape == (4, 32, 32, 3)
    assert data.leaves == ["a / x", "c / y"]
    assert data.train.rows.tolist() == [1, 3]
    assert data.train.labels.tolist() == [0, 2]
    assert data.train.products.tolist() == [0, 0]
    assert data.train.leaves.tolist() == [0, 1]
    assert data.val.rows.tolist() == [0]
    assert data.val.labels.tolist() == [2]
    assert data.val.leaves.tolist() == [-1]  # a leaf category without training photos
    assert data.titles is None  # one title: there is nothing to tell apart


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.integers(0, 1000), st.booleans())
def test_the_order_has_every_photo_once_and_products_together_on_request(
    numbers: list[int], seed: int, together: bool
) -> None:
    products = torch.tensor(np.unique(numbers, return_inverse=True)[1])
    split = Split(rows=np.arange(len(numbers)), labels=products, products=products, leaves=products)
    order = shuffle(split, np.random.default_rng(seed), products_together=together)
    assert sorted(order) == list(range(len(numbers)))
    if together:
        sequence = products[torch.from_numpy(order)].tolist()
        n_changes = sum(product != following for product, following in pairwise(sequence))
        assert n_changes == len(set(sequence)) - 1


@given(n=st.integers(1, 100), size=st.integers(2, 20))
def test_batches_hold_every_image_once_and_none_alone(n: int, size: int) -> None:
    order = np.random.default_rng(n).permutation(n)
    batches = cut_into_batches(order, size)
    assert np.concatenate(batches).tolist() == order.tolist()
    assert all(1 < len(batch) <= size + 1 for batch in batches) or n == 1
