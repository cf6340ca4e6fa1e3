"""The tables of vectors."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.common.errors import MarketplaceError
from marketplace.compute import scratch
from marketplace.vectors import tables
from marketplace.vectors.tables import (
    PhotoPredictions,
    PhotoVectors,
    TextVectors,
    read_embeddings,
    read_predictions,
    read_text_embeddings,
    write_embeddings,
    write_text_embeddings,
)
from marketplace.vectors.unit_length import to_unit_length

N_PHOTOS = 40


@pytest.fixture
def photos() -> pd.DataFrame:
    numbers = range(N_PHOTOS)
    return pd.DataFrame(
        {"image_id": [f"i{number:02}" for number in numbers], "product_id": [f"p{number // 2}" for number in numbers]}
    )


@pytest.fixture
def vectors() -> PhotoVectors:
    rng = np.random.default_rng(0)
    return PhotoVectors(
        identity=to_unit_length(rng.normal(size=(N_PHOTOS, 6)).astype(np.float32)),
        kind=to_unit_length(rng.normal(size=(N_PHOTOS, 3)).astype(np.float32)),
        hub_bias=rng.normal(size=N_PHOTOS).astype(np.float32),
    )


@pytest.fixture
def predictions() -> PhotoPredictions:
    rng = np.random.default_rng(1)
    return PhotoPredictions(
        title=to_unit_length(rng.normal(size=(N_PHOTOS, 4)).astype(np.float32)),
        path=rng.normal(size=(N_PHOTOS, 2)).astype(np.float32),
        category=rng.random((N_PHOTOS, 2), dtype=np.float32),
        categories=["Café & Bar", "Toys"],
    )


def test_embeddings_come_back_with_their_ids(
    tmp_path: Path, photos: pd.DataFrame, vectors: PhotoVectors, predictions: PhotoPredictions
) -> None:
    path = tmp_path / "embeddings.parquet"
    write_embeddings(path, photos, vectors, predictions, [])
    again = read_embeddings(path, photos)
    for name in ("identity", "kind", "hub_bias"):
        np.testing.assert_array_equal(getattr(again, name), getattr(vectors, name))
    predictions_again = read_predictions(path)
    for name in ("title", "path", "category", "categories"):
        np.testing.assert_array_equal(getattr(predictions_again, name), getattr(predictions, name))
    schema = pq.read_schema(path)
    assert schema.field("identity").type == pa.list_(pa.float32(), 6)
    assert schema.names == ["image_id", "product_id", "identity", "kind", "hub_bias", "title", "path", "category"]
    frame = pd.read_parquet(path)
    assert frame["product_id"].tolist() == photos["product_id"].tolist()
    assert (np.stack(frame["identity"]) == vectors.identity).all()
    with pytest.raises(MarketplaceError, match="for other photos"):
        read_embeddings(path, photos.iloc[::-1])


def test_large_tables_are_written_and_read_in_blocks(
    tmp_path: Path,
    photos: pd.DataFrame,
    vectors: PhotoVectors,
    predictions: PhotoPredictions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, blocks = tmp_path / "whole.parquet", tmp_path / "blocks.parquet"
    write_embeddings(whole, photos, vectors, predictions, [])
    monkeypatch.setattr(scratch, "ROWS_AT_ONCE", 7)
    write_embeddings(blocks, photos, vectors, predictions, [])
    assert pq.ParquetFile(blocks).num_row_groups == 6
    for rows_at_once in (3, 7, 100):
        monkeypatch.setattr(tables, "ROWS_AT_ONCE", rows_at_once)
        again = read_embeddings(blocks, photos)
        for name in ("identity", "kind", "hub_bias"):
            np.testing.assert_array_equal(getattr(again, name), getattr(vectors, name))
    pd.testing.assert_frame_equal(pd.read_parquet(blocks), pd.read_parquet(whole))


def test_text_embeddings_come_back_with_their_ids(tmp_path: Path) -> None:
    path = tmp_path / "text.parquet"
    model = tmp_path / "text_model"
    model.mkdir()
    identity = np.eye(2, dtype=np.float32)
    texts = TextVectors(text=identity, title=2 * identity, path=3 * identity)
    write_text_embeddings(path, ["a", "b"], texts, model)
    again = read_text_embeddings(path, ["a", "b"])
    for name in ("text", "title", "path"):
        np.testing.assert_array_equal(getattr(again, name), getattr(texts, name))
    with pytest.raises(MarketplaceError, match="for other products"):
        read_text_embeddings(path, ["b", "a"])


def test_photos_without_a_direction_are_counted(
    tmp_path: Path,
    photos: pd.DataFrame,
    vectors: PhotoVectors,
    predictions: PhotoPredictions,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "embeddings.parquet"
    write_embeddings(path, photos, vectors, predictions, [])
    read_embeddings(path, photos)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    vectors.identity[3] = 0
    vectors.kind[5, 0] = np.nan
    vectors.kind[8] = np.inf
    write_embeddings(path, photos, vectors, predictions, [])
    read_embeddings(path, photos)
    assert "the vectors of 3 of 40 photos (i03, i05, i08, …) are zero or not finite" in caplog.text


def test_vectors_of_another_model_are_refused(
    tmp_path: Path, photos: pd.DataFrame, vectors: PhotoVectors, predictions: PhotoPredictions
) -> None:
    path = tmp_path / "embeddings.parquet"
    text_path = tmp_path / "text_embeddings.parquet"
    image_model = tmp_path / "image_model.onnx"
    image_model.write_bytes(b"first")
    text_model = tmp_path / "text_model"
    text_model.mkdir()
    (text_model / "tokenizer.json").write_text("first")
    one = np.eye(1, dtype=np.float32)
    write_embeddings(path, photos, vectors, predictions, [image_model])
    write_text_embeddings(text_path, ["a"], TextVectors(text=one, title=one, path=one), text_model)
    read_embeddings(path, photos, [image_model])
    read_text_embeddings(text_path, ["a"], text_model)
    image_model.write_bytes(b"second")
    (text_model / "tokenizer.json").write_text("second")
    with pytest.raises(MarketplaceError, match=r"made with another model than .*onnx, or one is damaged: delete"):
        read_embeddings(path, photos, [image_model])
    with pytest.raises(MarketplaceError, match=r"made with another model than .*text_model"):
        read_text_embeddings(text_path, ["a"], text_model)


@given(scale=st.sampled_from([1e-9, 1e-3, 1.0, 1e3]), seed=st.integers(0, 1000))
def test_vectors_get_length_one_unless_they_have_no_direction(scale: float, seed: int) -> None:
    vectors = scale * np.random.default_rng(seed).normal(size=(3, 4)).astype(np.float32)
    lengths = np.linalg.norm(to_unit_length(vectors), axis=1)
    np.testing.assert_allclose(lengths, 0 if scale == 1e-9 else 1, atol=1e-6)
