"""The evaluation of a network, compared with sums by hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.networks import outputs_of, tail_of, trunk_of
from helpers.training_runs import CATEGORIES
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, top_k_accuracy_score
from torch import Tensor

from marketplace.embedding.projection import ExtractSettings
from marketplace.evaluation.by_product import HeldOutProducts
from marketplace.evaluation.report import COMPARED, evaluate, is_in_top3
from marketplace.models.checkpoints import Checkpoint, checkpoint_of
from marketplace.models.network import Network
from marketplace.vectors.tables import PhotoPredictions, PhotoVectors
from marketplace.vectors.unit_length import to_unit_length

SETTINGS = ExtractSettings(
    mirrored=True,
    detail_weight=0.25,
    power=0.5,
    detail_power=1.0,
    shrinkage=0.3,
    kind_dimensions=8,
    category_weight=0.3,
    leaf_temperature=0.7,
    hub_neighbours=5,
    hub_weight=0.0,  # the vectors below have no hub bias
    max_tokens=64,
    meaning_weight=0.75,
)


@pytest.fixture(scope="module")
def checkpoint(network: Network) -> Checkpoint:
    return checkpoint_of(network, weights="none", size=0, categories=[], leaves=[], epoch=0, figures={})


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    index = np.arange(40)
    return pd.DataFrame(
        {
            "image_id": [f"i{i:02}" for i in index],
            "product_id": [f"p{i // 2}" for i in index],
            "category": [CATEGORIES[i // 2 % 4] for i in index],
            "category_path": [f"{CATEGORIES[i // 2 % 4]} / {i // 20}" for i in index],
            "label": index // 2 % 4,
            "split": np.where(index // 2 % 5 < 2, "test", "train"),
            "sha256": [f"s{i}" for i in index],
        }
    )


def embed_one_by_one(network: Network, images: np.ndarray) -> Tensor:
    with torch.inference_mode():
        return torch.cat([network.tail(network.trunk(network.pixels(image[None]))) for image in images])


def test_the_evaluation_agrees_with_sums_by_hand(
    tmp_path: Path, network: Network, checkpoint: Checkpoint, images: np.ndarray, table: pd.DataFrame
) -> None:
    plain = to_unit_length(outputs_of(network, images).embeddings)
    vectors = PhotoVectors(identity=plain, kind=plain, hub_bias=np.zeros(len(plain), np.float32))
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    embeddings = (embed_one_by_one(network, images) + embed_one_by_one(network, mirrored)) / 2
    with torch.inference_mode():
        logits = network.head(embeddings)
    predictions = PhotoPredictions(
        title=np.zeros((40, 3), np.float32),
        path=np.zeros((40, 3), np.float32),
        category=logits.softmax(dim=1).numpy(),
        categories=CATEGORIES,
    )
    texts = np.random.default_rng(1).normal(size=(20, 5)).astype(np.float32)
    result = evaluate(
        trunk=trunk_of(checkpoint, 64),
        untouched=tail_of(checkpoint, 64),
        table=table,
        vectors=vectors,
        predictions=predictions,
        texts=texts,
        images=images,
        settings=SETTINGS,
    )
    test = np.flatnonzero(table["split"] == "test")
    logits = logits[test]
    labels = table["label"].to_numpy()[test]
    order = logits.argsort(dim=1, descending=True).numpy()
    predicted = order[:, 0]
    assert result.metrics["accuracy"] == pytest.approx((predicted == labels).mean(), abs=1e-5)
    in_top3 = (order[:, :3] == labels[:, None]).any(axis=1)
    assert result.metrics["top3_accuracy"] == pytest.approx(in_top3.mean(), abs=1e-5)
    f1 = []
    for label in range(4):
        hits = ((predicted == label) & (labels == label)).sum()
        f1.append(2 * hits / ((predicted == label).sum() + (labels == label).sum()))
    assert result.metrics["macro_f1"] == pytest.approx(np.mean(f1), abs=1e-5)
    np.testing.assert_allclose(result.per_category["f1"], np.round(f1, 4))
    assert result.per_category["images"].sum() == len(test)
    counts = result.confusion.set_index(["actual", "predicted"])["count"]
    for actual, assigned in set(zip(labels, predicted, strict=True)):
        expected = ((labels == actual) & (predicted == assigned)).sum()
        assert counts[CATEGORIES[actual], CATEGORIES[assigned]] == expected
    assert counts.sum() == len(test)
    n_products = table.loc[test, "product_id"].nunique()
    assert result.product_confusion["count"].sum() == n_products
    on_diagonal = result.product_confusion.query("actual == predicted")["count"].sum()
    assert result.metrics["product_accuracy"] == pytest.approx(on_diagonal / n_products, abs=1e-5)
    assert result.recall_at_k["tuned"].iloc[9] == result.metrics["same_product_recall_at_10"]
    assert result.recall_at_k["tuned_leave_one_out"].iloc[9] == result.metrics["leave_one_out_recall_at_10"]
    # Here, tuned and untouched are the same network.
    untouched = result.metrics["untouched"]
    assert isinstance(untouched, dict)
    assert untouched == pytest.approx({name: result.metrics[name] for name in untouched}, abs=0.05)
    projected = result.metrics["untouched_projected"]
    assert isinstance(projected, dict)
    assert set(projected) == set(untouched)
    assert projected != untouched

    result.write(tmp_path / "evaluate.json", tmp_path / "evaluate")
    assert json.loads((tmp_path / "evaluate.json").read_text()) == result.metrics
    intervals = json.loads((tmp_path / "evaluate" / "intervals.json").read_text())
    own = {name: value for name, value in result.metrics.items() if not isinstance(value, dict)}
    assert {name: figures["mean"] for name, figures in intervals.items()} == own
    assert all(figures["low"] <= figures["mean"] <= figures["high"] for figures in intervals.values())
    by_product = json.loads((tmp_path / "evaluate" / "by_product.json").read_text())
    for name in COMPARED:
        sums, counts = np.sum([values[name] for values in by_product.values() if name in values], axis=0)
        assert own[name] == pytest.approx(sums / counts, abs=1e-5)
    rows = json.loads((tmp_path / "evaluate" / "per_category.json").read_text())
    assert [row["category"] for row in rows] == CATEGORIES
    assert [set(row) for row in rows] == [{"category", "images", "precision", "recall", "f1"}] * len(CATEGORIES)
    assert {path.name for path in (tmp_path / "evaluate").iterdir()} == {
        "by_product.json",
        "confusion.json",
        "intervals.json",
        "product_confusion.json",
        "per_category.json",
        "recall_at_k.json",
        "similar.jpg",
        "mistakes.jpg",
    }


def test_one_of_three_categories_is_among_the_first_three() -> None:
    assert is_in_top3(np.array([0, 1]), np.array([[0.2, 0.3, 0.5], [0.9, 0.1, 0.0]])).all()


@given(st.integers(0, 1000), st.integers(4, 9))
def test_the_first_three_are_those_of_scikit_learn(seed: int, n_categories: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_categories, size=30)
    probabilities = rng.integers(5, size=(30, n_categories)) / 10  # with ties
    expected = top_k_accuracy_score(labels, probabilities, k=3, labels=np.arange(n_categories))
    assert is_in_top3(labels, probabilities).mean() == pytest.approx(expected)


def test_macro_f1_of_each_resample_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    table = pd.DataFrame(
        {"product_id": [f"p{i // 2:02}" for i in range(80)], "split": ["test", "test", "val", "val"] * 20}
    )
    rows = np.flatnonzero(table["split"] == "test")
    labels = rng.integers(4, size=len(rows))
    predicted = np.where(rng.random(len(rows)) < 0.6, labels, rng.integers(4, size=len(rows)))
    figures = HeldOutProducts(table).measure_macro_f1(labels, predicted, rows, 4)
    assert figures["mean"] == pytest.approx(f1_score(labels, predicted, average="macro"), abs=1e-5)
    assert figures["products"] == 20
    draws = (2 * rng.integers(20, size=(1000, 20))[:, :, None] + [0, 1]).reshape(1000, -1)
    expected = [
        f1_score(labels[draw], predicted[draw], labels=range(4), average="macro", zero_division=0) for draw in draws
    ]
    assert [figures["low"], figures["high"]] == pytest.approx(np.quantile(expected, [0.025, 0.975]), abs=0.02)
