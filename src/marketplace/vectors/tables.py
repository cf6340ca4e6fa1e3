"""The tables of vectors, written and read without a network: a row per photo, and a row per product's text.

A photo's identity vector finds the same product in another photo, after its hub bias is subtracted; its kind vector
finds products of the same kind. Its title vector is the title that the photo lets one expect, and its path vector the
expected category. A product has a text vector, a title vector and a path vector.

Both tables hold the SHA-256 of the models that made them: vectors of different models cannot be compared. They are
written and read in blocks; vectors that were read are mapped (see compute/scratch.py).
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
from marketplace.common.files import release_pages, replacing, sha256_of
from marketplace.compute.scratch import ROWS_AT_ONCE, ScratchArray, blocks_of, compute_in_blocks

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
        "image_id": table["image_id"].to_numpy(),
        "product_id": table["product_id"].to_numpy(),
        "identity": vectors.identity,
        "kind": vectors.kind,
        "hub_bias": vectors.hub_bias,
        "title": predictions.title,
        "path": predictions.path,
        "category": predictions.category,
    }
    _write(path, columns, models, categories=json.dumps(predictions.categories))
    log.info("%s: vectors of %s photos", path, f"{len(table):,}")


def read_embeddings(path: Path, table: pd.DataFrame, models: Sequence[Path] = ()) -> PhotoVectors:
    """Read the vectors that `write_embeddings` wrote; warn about vectors that cannot be compared.

    Raises MarketplaceError if the file holds other photos than `table`, or in another order, or was made by other
    models than `models`.
    """
    stored = _read(path, ["image_id", "identity", "kind", "hub_bias"], models)
    if stored["image_id"].tolist() != table["image_id"].tolist():
        raise MarketplaceError(f"{path} is for other photos than the training data: run `dvc repro extract`.")
    identity = stored["identity"]
    kind = stored["kind"]
    unusable = stored["image_id"][~(_usable(identity) & _usable(kind))]
    if len(unusable):
        log.warning(
            "%s: the vectors of %s of %s photos (%s, …) are zero or not finite: they are similar to nothing, and "
            "their products may get no recommendations. Look at the photos, or run `dvc repro --force extract`.",
            path,
            f"{len(unusable):,}",
            f"{len(identity):,}",
            ", ".join(unusable[:3]),
        )
    return PhotoVectors(identity=identity, kind=kind, hub_bias=stored["hub_bias"])


def read_predictions(path: Path) -> PhotoPredictions:
    """Read the predictions that `write_embeddings` wrote."""
    stored = _read(path, ["title", "path", "category"], [])
    with reading(path):
        categories = json.loads(pq.read_schema(path).metadata[b"categories"])
    return PhotoPredictions(**stored, categories=categories)


def write_text_embeddings(path: Path, product_ids: list[str], vectors: TextVectors, model: Path) -> None:
    """Write product_id, text, title and path, one row per product. `model` is the folder of the text model."""
    columns = {
        "product_id": np.array(product_ids, dtype=object),
        "text": vectors.text,
        "title": vectors.title,
        "path": vectors.path,
    }
    _write(path, columns, [model])
    log.info("%s: vectors of the texts of %s products", path, f"{len(product_ids):,}")


def read_text_embeddings(path: Path, product_ids: list[str], model: Path | None = None) -> TextVectors:
    """Read the vectors that `write_text_embeddings` wrote.

    Raises MarketplaceError if the file holds other products, or in another order, or was made by another model.
    """
    stored = _read(path, ["product_id", "text", "title", "path"], [] if model is None else [model])
    if stored.pop("product_id").tolist() != product_ids:
        raise MarketplaceError(f"{path} is for other products than the training data: run `dvc repro extract`.")
    return TextVectors(**stored)


def _write(path: Path, columns: dict[str, np.ndarray], models: Sequence[Path], **metadata: str) -> None:
    """Write a table whose row groups are blocks."""
    made_with = {model.name: sha256_of(model) for model in models}
    n_rows = len(next(iter(columns.values())))
    schema = _as_table(columns, slice(0)).schema.with_metadata({**made_with, **metadata})
    with replacing(path) as part, pq.ParquetWriter(part, schema) as writer:
        for block in blocks_of(n_rows):
            writer.write_table(_as_table(columns, block))
            for values in columns.values():
                release_pages(values)


def _as_table(columns: dict[str, np.ndarray], block: slice) -> pa.Table:
    return pa.table({name: _as_column(values[block]) for name, values in columns.items()})


def _as_column(values: np.ndarray) -> pa.Array:
    """Return strings for objects `(n,)`, lists for vectors `(n, d)`, and numbers."""
    if values.dtype == object:
        return pa.array(values, pa.string())
    numbers = np.ascontiguousarray(values, dtype=np.float32)
    if numbers.ndim == 1:
        return pa.array(numbers)
    return pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), numbers.shape[1])


def _read(path: Path, columns: list[str], models: Sequence[Path]) -> dict[str, np.ndarray]:
    """Read some columns of a table. Raises MarketplaceError if it was made by other models than `models`."""
    with reading(path), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        n_rows = file.metadata.num_rows
        arrays = {name: _allocate(schema.field(name).type, n_rows) for name in columns}
        start = 0
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns):
            rows = np.arange(start, start + len(batch))
            start += len(batch)
            for name, array in arrays.items():
                if isinstance(array, ScratchArray):
                    array.write(rows, batch[name].flatten().to_numpy().reshape(len(rows), -1))
                else:
                    array[rows] = batch[name].to_numpy(zero_copy_only=False)
    made_with = schema.metadata or {}
    for model in models:
        if made_with.get(model.name.encode()) != sha256_of(model).encode():
            raise MarketplaceError(
                f"{path} was made with another model than {model}, or one is damaged: {how_to_heal(path, model)}."
            )
    return {name: array.map() if isinstance(array, ScratchArray) else array for name, array in arrays.items()}


def _allocate(type_: pa.DataType, n_rows: int) -> ScratchArray | np.ndarray:
    """Return an array for a column: of vectors, strings or numbers."""
    if isinstance(type_, pa.FixedSizeListType):
        return ScratchArray((n_rows, type_.list_size), np.dtype(np.float32))
    return np.empty(n_rows, object if pa.types.is_string(type_) else np.float32)


def _usable(vectors: np.ndarray) -> np.ndarray:
    """Return a mask `(N,)` of the vectors `(N, d)` that have a direction."""

    def usable_rows(rows: np.ndarray) -> np.ndarray:
        block = vectors[rows]
        return np.isfinite(block).all(axis=1) & block.any(axis=1)

    return compute_in_blocks(usable_rows, len(vectors), vectors)
