"""The evaluation of a network, compared with sums by hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.networks import outputs_of, tail_of, trunk_of
from helpers.training_runs import CATEGORIES
from torch import Tensor

from marketplace.embedding.projection import ExtractSettings
from marketplace.evaluation.report import evaluate, top3_accuracy
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
    rows = json.loads((tmp_path / "evaluate" / "per_category.json").read_text())
    assert [row["category"] for row in rows] == CATEGORIES
    assert [set(row) for row in rows] == [{"category", "images", "precision", "recall", "f1"}] * len(CATEGORIES)
    assert {path.name for path in (tmp_path / "evaluate").iterdir()} == {
        "confusion.json",
        "product_confusion.json",
        "per_category.json",
        "recall_at_k.json",
        "similar.jpg",
        "mistakes.jpg",
    }


def test_top3_accuracy_is_one_if_there_are_three_categories() -> None:
    assert top3_accuracy(np.array([0, 1]), np.array([[0.2, 0.3, 0.5], [0.9, 0.1, 0.0]])) == 1.0
