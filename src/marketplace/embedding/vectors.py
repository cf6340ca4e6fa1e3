"""The table of vectors: a row per photo, written and read without a network."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import replacing


def write_embeddings(path: Path, table: pd.DataFrame, embeddings: np.ndarray) -> None:
    """Write image_id, product_id and embedding (a fixed-size list of float32), one row per row of `table`."""
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), embeddings.shape[1])
    columns = {
        "image_id": pa.array(table["image_id"], pa.string()),
        "product_id": pa.array(table["product_id"], pa.string()),
        "embedding": vectors,
    }
    with replacing(path) as part:
        pq.write_table(pa.table(columns), part)


def read_embeddings(path: Path, table: pd.DataFrame) -> np.ndarray:
    """The embeddings `(N, D) float32` that `write_embeddings` wrote.

    Raises MarketplaceError if they are not those of the photos of `table`, in its order.
    """
    stored = pq.read_table(path)
    if stored["image_id"].to_pylist() != table["image_id"].tolist():
        raise MarketplaceError(f"{path} is for other photos than the training data: run `dvc repro extract`.")
    vectors = stored["embedding"].combine_chunks()
    values: np.ndarray = vectors.flatten().to_numpy().reshape(len(vectors), -1)
    return values
