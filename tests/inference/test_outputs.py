import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from marketplace.common.errors import MarketplaceError
from marketplace.embedding.projection import ExtractSettings
from marketplace.evaluation.report import category_probabilities, evaluate, top3_accuracy
from marketplace.inference.outputs import chosen_checkpoint, network_outputs
from marketplace.models.checkpoints import CATEGORIES as CATEGORIES_LAYER
from marketplace.models.checkpoints import Checkpoint, checkpoint_of, save
from marketplace.models.network import Network
from marketplace.vectors.tables import (
    PhotoVectors,
    hub_bias,
    read_embeddings,
    read_text_embeddings,
    write_embeddings,
    write_text_embeddings,
)
from marketplace.vectors.unit_length import to_unit_length

FIGURES = {"train_loss": 0.5, "val_loss": 0.75, "val_accuracy": 0.625}
CATEGORIES = ["a", "b", "c", "d"]
SETTINGS = ExtractSettings(
    detail_weight=0.25, mirrored=True, power=0.5, shrinkage=0.3, kind_dimensions=8, category_weight=0.3
)


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return Network("resnet18", n_categories=4).eval()


@pytest.fixture(scope="module")
def checkpoint(network: Network) -> Checkpoint:
    return checkpoint_of(network, weights="none", size=64, categories=CATEGORIES, leaves=[], epoch=3, figures=FIGURES)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)


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
            "split": np.where(index % 5 < 2, "test", "train"),
            "sha256": [f"s{i}" for i in index],
        }
    )


def written(folder: Path, checkpoint: Checkpoint, **best: float) -> tuple[Path, Path]:
    save(folder / "full.pt", checkpoint)
    (folder / "metrics.json").write_text(json.dumps({"best": {"epoch": 3, **FIGURES, **best}}))
    return folder / "full.pt", folder / "metrics.json"


def test_a_checkpoint_that_is_not_the_chosen_epoch_is_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    assert chosen_checkpoint(*written(tmp_path, checkpoint))["epoch"] == 3
    with pytest.raises(MarketplaceError, match=r"'epoch': 4.* was chosen: one of them is stale"):
        chosen_checkpoint(*written(tmp_path, checkpoint, epoch=4))
    with pytest.raises(MarketplaceError, match=r"one of them is stale"):
        chosen_checkpoint(*written(tmp_path, checkpoint, val_loss=0.7))


def test_outputs_are_pooled_image_by_image(network: Network, images: np.ndarray) -> None:
    outputs = network_outputs(network, images)
    for found, expected in zip(outputs, one_by_one(network, images), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-3)


def test_mirrored_outputs_are_the_mean_of_both_views(network: Network, images: np.ndarray) -> None:
    views = images, np.ascontiguousarray(images[:, :, ::-1])
    parts = [one_by_one(network, view) for view in views]
    outputs = network_outputs(network, images, mirrored=True)
    for found, plain, mirrored in zip(outputs, *parts, strict=True):
        torch.testing.assert_close(found, (plain + mirrored) / 2, rtol=2e-2, atol=2e-3)


def one_by_one(network: Network, images: np.ndarray) -> tuple[Tensor, Tensor]:
    """Embeddings and details."""
    with torch.inference_mode():
        features = [network.trunk(network.pixels(images[[i]])) for i in range(len(images))]
        return torch.cat([network.tail(one) for one in features]), torch.cat([one.mean((2, 3)) for one in features])


def vectors_of(n: int) -> PhotoVectors:
    rng = np.random.default_rng(0)
    product, kind = (to_unit_length(rng.normal(size=(n, size)).astype(np.float32)) for size in (6, 3))
    return PhotoVectors(product, kind, rng.normal(size=n).astype(np.float32))


def test_embeddings_come_back_with_their_ids(tmp_path: Path, table: pd.DataFrame) -> None:
    vectors, path = vectors_of(40), tmp_path / "embeddings.parquet"
    write_embeddings(path, table, vectors, [])
    again = read_embeddings(path, table)
    for name in ("identity", "kind", "hub_bias"):
        np.testing.assert_array_equal(getattr(again, name), getattr(vectors, name))
    schema = pq.read_schema(path)
    assert schema.field("identity").type == pa.list_(pa.float32(), 6)
    assert schema.names == ["image_id", "product_id", "identity", "kind", "hub_bias"]
    frame = pd.read_parquet(path)
    assert frame["product_id"].tolist() == table["product_id"].tolist()
    assert (np.stack(frame["identity"]) == vectors.identity).all()
    with pytest.raises(MarketplaceError, match="for other photos"):
        read_embeddings(path, table.iloc[::-1])


def test_text_embeddings_come_back_with_their_ids(tmp_path: Path) -> None:
    path, ids, vectors = tmp_path / "text.parquet", ["a", "b"], np.eye(2, dtype=np.float32)
    model = tmp_path / "text_model"
    model.mkdir()
    write_text_embeddings(path, ids, vectors, model)
    np.testing.assert_array_equal(read_text_embeddings(path, ids), vectors)
    with pytest.raises(MarketplaceError, match="for other products"):
        read_text_embeddings(path, ["b", "a"])


def test_photos_without_a_direction_are_counted(
    tmp_path: Path, table: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    path, vectors = tmp_path / "embeddings.parquet", vectors_of(40)
    write_embeddings(path, table, vectors, [])
    read_embeddings(path, table)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    vectors.identity[3], vectors.kind[5, 0], vectors.kind[8] = 0, np.nan, np.inf
    write_embeddings(path, table, vectors, [])
    read_embeddings(path, table)
    ids = table["image_id"]
    assert f"the vectors of 3 of 40 photos ({ids[3]}, {ids[5]}, {ids[8]}, …) are zero or not finite" in caplog.text


def test_vectors_of_another_model_are_refused(tmp_path: Path, table: pd.DataFrame) -> None:
    photos, texts = tmp_path / "embeddings.parquet", tmp_path / "text_embeddings.parquet"
    image_model, text_model = tmp_path / "image_model.onnx", tmp_path / "text_model"
    image_model.write_bytes(b"one")
    text_model.mkdir()
    (text_model / "tokenizer.json").write_text("one")
    write_embeddings(photos, table, vectors_of(40), [image_model])
    write_text_embeddings(texts, ["a"], np.eye(1, dtype=np.float32), text_model)
    read_embeddings(photos, table, [image_model])
    read_text_embeddings(texts, ["a"], text_model)
    image_model.write_bytes(b"another")
    (text_model / "tokenizer.json").write_text("another")
    with pytest.raises(MarketplaceError, match=r"made with another model than .*onnx: run `dvc repro extract`"):
        read_embeddings(photos, table, [image_model])
    with pytest.raises(MarketplaceError, match=r"made with another model than .*text_model"):
        read_text_embeddings(texts, ["a"], text_model)


def test_the_hub_bias_of_a_large_catalogue_is_nearly_that_of_comparing_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    directions = to_unit_length(rng.normal(size=(40, 16)))
    vectors = to_unit_length(directions[rng.integers(0, 40, 2000)] + 0.1 * rng.normal(size=(2000, 16))).astype(
        np.float32
    )
    sha256 = rng.integers(0, 1900, 2000).astype(str)
    exact = hub_bias(vectors, sha256)
    monkeypatch.setattr("marketplace.vectors.candidates.EXHAUSTIVE_UP_TO_PHOTOS", 1000)
    np.testing.assert_allclose(hub_bias(vectors, sha256), exact, atol=0.01)


@given(n=st.integers(1, 20), seed=st.integers(0, 1000))
def test_the_hub_bias_is_half_the_mean_of_the_five_nearest(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, sha256 = to_unit_length(rng.normal(size=(n, 4)).astype(np.float32)), rng.integers(0, 2 * n, n).astype(str)
    expected = []
    for row in range(n):
        others = [float(vectors[row] @ vectors[i]) if sha256[i] != sha256[row] else 0.0 for i in range(n)]
        k = min(5, n - 1)
        expected.append(0.5 * sum(sorted(others)[-k:]) / k if k else 0.0)
    np.testing.assert_allclose(hub_bias(vectors, sha256), expected, atol=1e-5)


def test_the_evaluation_is_what_sums_by_hand_give(
    tmp_path: Path, network: Network, checkpoint: Checkpoint, images: np.ndarray, table: pd.DataFrame
) -> None:
    plain = to_unit_length(network_outputs(network, images).embeddings.numpy())
    vectors = PhotoVectors(plain, plain, np.zeros(len(plain), np.float32))
    state = {name: value for name, value in checkpoint["state_dict"].items() if not name.startswith(CATEGORIES_LAYER)}
    result = evaluate(checkpoint, {**checkpoint, "state_dict": state}, table, vectors, images, SETTINGS)
    test = np.flatnonzero(table["split"] == "test")
    with torch.inference_mode():
        views = images, np.ascontiguousarray(images[:, :, ::-1])
        plain_view, mirrored = (one_by_one(network, view)[0] for view in views)
        logits = network.head((plain_view + mirrored) / 2)[test]
    labels = table["label"].to_numpy()[test]
    order = logits.argsort(dim=1, descending=True).numpy()
    assert result.metrics["accuracy"] == pytest.approx((order[:, 0] == labels).mean(), abs=1e-5)
    assert result.metrics["top3_accuracy"] == pytest.approx(
        (order[:, :3] == labels[:, None]).any(axis=1).mean(), abs=1e-5
    )
    f1 = []
    for label in range(4):
        hits = ((order[:, 0] == label) & (labels == label)).sum()
        f1.append(2 * hits / ((order[:, 0] == label).sum() + (labels == label).sum()))
    assert result.metrics["macro_f1"] == pytest.approx(np.mean(f1), abs=1e-5)
    np.testing.assert_allclose(result.per_category["f1"], np.round(f1, 4))
    assert result.per_category["images"].sum() == len(test)
    counts = result.confusion.set_index(["actual", "predicted"])["images"]
    for actual, predicted in set(zip(labels, order[:, 0], strict=True)):
        expected = ((labels == actual) & (order[:, 0] == predicted)).sum()
        assert counts[CATEGORIES[actual], CATEGORIES[predicted]] == expected
    assert counts.sum() == len(test)
    assert result.recall_at_k["tuned"].iloc[9] == result.metrics["same_product_recall_at_10"]
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
        "per_category.json",
        "recall_at_k.json",
        "similar.jpg",
        "mistakes.jpg",
    }


def test_probabilities_sum_to_one_and_three_of_three_is_no_feat(checkpoint: Checkpoint, images: np.ndarray) -> None:
    probabilities = category_probabilities(checkpoint, images[:5])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert top3_accuracy(np.array([0, 1]), np.array([[0.2, 0.3, 0.5], [0.9, 0.1, 0.0]])) == 1.0
