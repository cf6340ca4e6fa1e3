"""The metrics of every epoch, and the choice of the best one."""

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
from marketplace.models.checkpoints import Checkpoint, network_of
from marketplace.settings import Settings
from marketplace.training.data import Split, TrainingData
from marketplace.training.validation import prefers, same_product_recall_at_1, validate


def test_validation_is_a_mean_over_images_not_over_batches(start: Checkpoint, data: TrainingData) -> None:
    network = network_of(start, n_categories=3)
    rows = np.arange(43)  # a full batch and a short one
    numbers = torch.from_numpy(rows)
    split = Split(rows=rows, labels=numbers % 3, products=numbers, leaves=numbers)
    with torch.inference_mode():
        all_features = network.trunk(network.pixels(data.images[rows]))
        logits = network.head(network.tail(all_features))

    def features(rows: np.ndarray) -> torch.Tensor:
        return torch.index_select(all_features, 0, torch.from_numpy(rows))

    validation = validate(network, features, split)
    assert validation.loss == pytest.approx(F.cross_entropy(logits, split.labels).item(), rel=1e-4)
    assert validation.accuracy == pytest.approx((logits.argmax(1) == split.labels).float().mean().item())
    assert validation.recall_at_1 is None


@given(products=st.lists(st.integers(0, 4), min_size=1, max_size=12), seed=st.integers(0, 1000))
def test_recall_is_the_share_of_photos_that_find_their_product_first(products: list[int], seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(len(products), 3))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    hits = []
    for query, product in enumerate(products):
        others = [photo for photo in range(len(products)) if photo != query]
        if any(products[photo] == product for photo in others):
            nearest = max(others, key=lambda photo: unit[query] @ unit[photo])
            hits.append(products[nearest] == product)
    recall = same_product_recall_at_1(torch.from_numpy(vectors), torch.tensor(products))
    assert recall == (pytest.approx(np.mean(hits)) if hits else None)


def test_recall_of_very_many_photos_is_estimated_from_evenly_spread_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    products = rng.integers(0, 60, 100)
    vectors = torch.from_numpy(rng.normal(size=(100, 3)).astype(np.float32))
    cosines = F.normalize(vectors) @ F.normalize(vectors).T
    nearest = cosines.fill_diagonal_(-2).argmax(dim=1).numpy()
    is_hit = products[nearest] == products
    queries = np.flatnonzero(np.bincount(products)[products] > 1)

    monkeypatch.setattr("marketplace.training.validation.QUERIES_AT_ONCE", 7)
    recall = same_product_recall_at_1(vectors, torch.from_numpy(products))
    assert recall == pytest.approx(is_hit[queries].mean())

    monkeypatch.setattr("marketplace.training.validation.MAX_QUERIES", 10)
    estimate = same_product_recall_at_1(vectors, torch.from_numpy(products))
    assert estimate == pytest.approx(is_hit[queries[np.arange(10) * len(queries) // 10]].mean())


@pytest.mark.parametrize(
    ("select", "new", "old", "preferred"),
    [
        ("val_accuracy", (0.9, 2.0), (0.8, 1.0), True),
        ("val_accuracy", (0.8, 0.9), (0.8, 1.0), True),
        ("val_accuracy", (0.8, 1.0), (0.8, 1.0), False),
        ("val_accuracy", (0.7, 0.1), (0.8, 1.0), False),
        ("val_loss", (0.1, 0.9), (0.8, 1.0), True),
        ("val_loss", (0.9, 1.0), (0.8, 1.0), False),
    ],
)
def test_an_epoch_is_preferred_by_the_selected_metric_then_by_its_loss(
    select: str, new: tuple[float, float], old: tuple[float, float], preferred: bool
) -> None:
    """`new` and `old` are an accuracy and a loss."""
    names = ("val_accuracy", "val_loss")
    assert prefers(select, dict(zip(names, new, strict=True)), dict(zip(names, old, strict=True))) == preferred


def test_the_epoch_can_be_chosen_by_recall(
    start: Checkpoint, data: TrainingData, settings: Settings, tmp_path: Path
) -> None:
    by_recall = settings.train.model_copy(update={"select": "val_recall_at_1"})
    best = train_in(start, data, by_recall, tmp_path, epochs=3)
    epochs = pd.read_csv(tmp_path / "epochs/epochs.csv")
    assert best["figures"]["val_recall_at_1"] == epochs["val_recall_at_1"].max()
    assert prefers("val_recall_at_1", {"val_recall_at_1": 0.2, "val_loss": 9}, {"val_recall_at_1": 0.1, "val_loss": 1})


def test_recall_needs_products_with_two_photos(
    start: Checkpoint, data: TrainingData, settings: Settings, tmp_path: Path
) -> None:
    all_different = torch.arange(len(data.val.rows))
    without_pairs = replace(data, val=data.val._replace(products=all_different))
    best = train_in(start, without_pairs, settings.train, tmp_path / "by_accuracy", epochs=1)
    assert "val_recall_at_1" not in best["figures"]
    by_recall = settings.train.model_copy(update={"select": "val_recall_at_1"})
    with pytest.raises(MarketplaceError, match=r"train\.select = val_recall_at_1 needs products with two photos"):
        train_in(start, without_pairs, by_recall, tmp_path / "by_recall", epochs=1)
