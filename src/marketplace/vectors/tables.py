"""The tables of vectors, written and read without a network: a row per photo, and a row per product's text.

A photo's identity vector finds the same product in another photo, after its hub bias is subtracted; its kind vector
finds products of the same kind. Its title vector is the title that the photo lets one expect, and its path vector the
expected category. A product has a text vector, a title vector and a path vector.

Both tables hold the SHA-256 of the models that made them: vectors of different models cannot be compared.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from marketplace.common.damage import how_to_heal, reading
from marketplace.common.errors import MarketplaceError
from marketplace.common.files import replacing, sha256_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PhotoVectors:
    """The vectors of photos, in the row order of the training data."""

    identity: np.ndarray  # (N, d) float32, of length 1
    kind: np.ndarray  # (N, k) float32, of length 1
    hub_bias: np.ndarray  # (N,) float32, from `hubs.hub_bias`


@dataclass(frozen=True)
class PhotoPredictions:
    """The words and the category that the network predicts for each photo, in the row order of the training data."""

    title: np.ndarray  # (N, m) float32, of length 1; zeros if the network predicts no titles
    path: np.ndarray  # (N, p) float32, the expected vector of the category path
    category: np.ndarray  # (N, n_categories) float32, probabilities of the root categories
    categories: list[str]  # their names


@dataclass(frozen=True)
class TextVectors:
    """The vectors of sellers' words and categories, ordered by product id. Products without words have zeros."""

    text: np.ndarray  # (P, t) float32, of length 1: title and description, by meaning and spelling
    title: np.ndarray  # (P, m) float32, of length 1: the title's meaning
    path: np.ndarray  # (P, p) float32: the category path, see embedding/paths.py


def write_embeddings(
    path: Path, table: pd.DataFrame, vectors: PhotoVectors, predictions: PhotoPredictions, models: Sequence[Path]
) -> None:
    """Write image_id, product_id, identity, kind, hub_bias, title, path and category, one row per photo.

    `models` are the files of the models that made the vectors.
    """
    columns = {
        "image_id": pa.array(table["image_id"], pa.string()),
        "product_id": pa.array(table["product_id"], pa.string()),
        "identity": _as_lists(vectors.identity),
        "kind": _as_lists(vectors.kind),
        "hub_bias": pa.array(vectors.hub_bias, pa.float32()),
        "title": _as_lists(predictions.title),
        "path": _as_lists(predictions.path),
        "category": _as_lists(predictions.category),
    }
    _write(path, columns, models, categories=json.dumps(predictions.categories))
    log.info("%s: vectors of %s photos", path, f"{len(table):,}")


def read_embeddings(path: Path, table: pd.DataFrame, models: Sequence[Path] = ()) -> PhotoVectors:
    """Read the vectors that `write_embeddings` wrote; warn about vectors that cannot be compared.

    Raises MarketplaceError if the file holds other photos than `table`, or in another order, or was made by other
    models than `models`.
    """
    stored = _read(path, ["image_id", "identity", "kind", "hub_bias"], models)
    if stored["image_id"].to_pylist() != table["image_id"].tolist():
        raise MarketplaceError(f"{path} is for other photos than the training data: run `dvc repro extract`.")
    identity = _as_array(stored["identity"])
    kind = _as_array(stored["kind"])
    unusable = np.array(stored["image_id"])[~(_usable(identity) & _usable(kind))]
    if len(unusable):
        log.warning(
            "%s: the vectors of %s of %s photos (%s, …) are zero or not finite: they are similar to nothing, and "
            "their products may get no recommendations. Look at the photos, or run `dvc repro --force extract`.",
            path,
            f"{len(unusable):,}",
            f"{len(identity):,}",
            ", ".join(unusable[:3]),
        )
    return PhotoVectors(
        identity=identity,
        kind=kind,
        hub_bias=stored["hub_bias"].to_numpy(),
    )


def read_predictions(path: Path) -> PhotoPredictions:
    """Read the predictions that `write_embeddings` wrote."""
    with reading(path):
        stored = pq.read_table(path, columns=["title", "path", "category"])
        categories = json.loads(stored.schema.metadata[b"categories"])
    return PhotoPredictions(
        title=_as_array(stored["title"]),
        path=_as_array(stored["path"]),
        category=_as_array(stored["category"]),
        categories=categories,
    )


def write_text_embeddings(path: Path, product_ids: list[str], vectors: TextVectors, model: Path) -> None:
    """Write product_id, text, title and path, one row per product. `model` is the folder of the text model."""
    columns = {
        "product_id": pa.array(product_ids, pa.string()),
        "text": _as_lists(vectors.text),
        "title": _as_lists(vectors.title),
        "path": _as_lists(vectors.path),
    }
    _write(path, columns, [model])
    log.info("%s: vectors of the texts of %s products", path, f"{len(product_ids):,}")


def read_text_embeddings(path: Path, product_ids: list[str], model: Path | None = None) -> TextVectors:
    """Read the vectors that `write_text_embeddings` wrote.

    Raises MarketplaceError if the file holds other products, or in another order, or was made by another model.
    """
    stored = _read(path, ["product_id", "text", "title", "path"], [] if model is None else [model])
    if stored["product_id"].to_pylist() != product_ids:
        raise MarketplaceError(f"{path} is for other products than the training data: run `dvc repro extract`.")
    return TextVectors(text=_as_array(stored["text"]), title=_as_array(stored["title"]), path=_as_array(stored["path"]))


def _write(path: Path, columns: dict[str, pa.Array], models: Sequence[Path], **metadata: str) -> None:
    made_with = {model.name: sha256_of(model) for model in models}
    with replacing(path) as part:
        pq.write_table(pa.table(columns).replace_schema_metadata({**made_with, **metadata}), part)


def _read(path: Path, columns: list[str], models: Sequence[Path]) -> pa.Table:
    with reading(path):
        stored = pq.read_table(path, columns=columns)
    made_with = stored.schema.metadata or {}
    for model in models:
        if made_with.get(model.name.encode()) != sha256_of(model).encode():
            raise MarketplaceError(
                f"{path} was made with another model than {model}, or one is damaged: {how_to_heal(path, model)}."
            )
    return stored


def _usable(vectors: np.ndarray) -> np.ndarray:
    """Return a mask `(N,)` of the vectors `(N, d)` that have a direction."""
    return np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)


def _as_lists(vectors: np.ndarray) -> pa.FixedSizeListArray:
    values = np.ascontiguousarray(vectors, dtype=np.float32).ravel()
    return pa.FixedSizeListArray.from_arrays(pa.array(values), vectors.shape[1])


def _as_array(column: pa.ChunkedArray) -> np.ndarray:
    lists = column.combine_chunks()
    return lists.flatten().to_numpy().reshape(len(lists), -1)
