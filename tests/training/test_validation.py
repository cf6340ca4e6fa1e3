"""What every epoch is measured by."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.training_runs import train_in
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from marketplace.common.errors import MarketplaceError
from marketplace.models.checkpoints import Checkpoint
from marketplace.settings import Settings
from marketplace.training.data import TrainingData
from marketplace.training.validation import prefers, same_product_recall_at_1


@given(products=st.lists(st.integers(0, 4), min_size=1, max_size=12), seed=st.integers(0, 1000))
def test_recall_is_the_share_of_photos_that_find_their_product_first(products: list[int], seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(len(products), 3))
    hits = []
    for query, product in enumerate(products):
        others = [other for other in range(len(products)) if other != query]
        if any(products[other] == product for other in others):
            unit = [vector / np.linalg.norm(vector) for vector in vectors]
            hits.append(products[max(others, key=lambda other: unit[query] @ unit[other])] == product)
    recall = same_product_recall_at_1(torch.from_numpy(vectors), torch.tensor(products))
    assert recall == (pytest.approx(np.mean(hits)) if hits else None)


def test_recall_of_very_many_photos_is_that_of_some_evenly_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    products = rng.integers(0, 60, 100)
    vectors = torch.from_numpy(rng.normal(size=(100, 3)).astype(np.float32))
    shared = np.flatnonzero(np.bincount(products)[products] > 1)
    cosines = F.normalize(vectors) @ F.normalize(vectors).T
    nearest = cosines.fill_diagonal_(-2).argmax(dim=1).numpy()
    right = products[nearest] == products
    monkeypatch.setattr("marketplace.training.validation.QUERIES_AT_ONCE", 7)
    everyone = same_product_recall_at_1(vectors, torch.from_numpy(products))
    assert everyone == pytest.approx(right[shared].mean())
    monkeypatch.setattr("marketplace.training.validation.MAX_QUERIES", 10)
    some = same_product_recall_at_1(vectors, torch.from_numpy(products))
    assert some == pytest.approx(right[shared[np.arange(10) * len(shared) // 10]].mean())


def test_the_epoch_can_be_chosen_by_recall(
    start: Checkpoint, data: TrainingData, settings: Settings, tmp_path: Path
) -> None:
    by_recall = settings.train.model_copy(update={"select": "val_recall_at_1"})
    best = train_in(start, data, by_recall, tmp_path, epochs=3)
    epochs = pd.read_csv(tmp_path / "epochs/epochs.csv")
    assert best["figures"]["val_recall_at_1"] == epochs["val_recall_at_1"].max()
    assert prefers("val_recall_at_1", {"val_recall_at_1": 0.2, "val_loss": 9}, {"val_recall_at_1": 0.1, "val_loss": 1})

    alone = replace(data, val=data.val._replace(products=torch.arange(len(data.val.rows))))
    without = train_in(start, alone, settings.train, tmp_path / "alone", epochs=1)
    assert "val_recall_at_1" not in without["figures"]
    with pytest.raises(MarketplaceError, match=r"train\.select = val_recall_at_1 needs products with two photos"):
        train_in(start, alone, by_recall, tmp_path / "refused", epochs=1)
