"""A vector for every image: what the networks give for it, and the table that keeps the vectors."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from tqdm import tqdm

from marketplace import checkpoints
from marketplace.checkpoints import Checkpoint
from marketplace.errors import MarketplaceError
from marketplace.features import FeatureStore
from marketplace.files import replacing
from marketplace.image_model import joined
from marketplace.networks import Network

BATCH = 32


def chosen_checkpoint(path: Path, metrics: Path) -> Checkpoint:
    """The checkpoint of a training.

    Raises MarketplaceError when it is not of the epoch that the training's metrics say was chosen.
    """
    checkpoint: Checkpoint = checkpoints.load(path)
    recorded = json.loads(metrics.read_text(encoding="utf-8"))["best"]
    held = {"epoch": checkpoint["epoch"], **checkpoint["figures"]}
    if held != recorded:
        raise MarketplaceError(
            f"{path} holds {held}, but {metrics} says that {recorded} was chosen: one of them is stale. "
            "Run `dvc repro --force train_full`."
        )
    return checkpoint


@torch.inference_mode()
def pooled(networks: Sequence[Network], images: np.ndarray, *, mirrored: bool = False) -> Tensor:
    """What the tails of networks that share a trunk give, before any head: `(N, D) float32`, joined.

    `images` are `(N, S, S, 3) uint8`; `mirrored` averages with the mirror image. Stored features of the trunk are used
    where a training left them.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for network in networks:
        network.eval().to(device)
    rows = np.arange(len(images))
    store = FeatureStore(networks[0], images)
    views = [store.features(rows, mirrored=flip) for flip in ((False, True) if mirrored else (False,))]
    outputs = torch.empty(len(images), sum(network.dimensions for network in networks))
    with tqdm(total=len(rows), desc="embedding", unit="image", mininterval=0.5) as progress:
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            parts = [joined([network.tail(view(batch).to(device)) for network in networks]) for view in views]
            outputs[start : start + len(batch)] = torch.stack(parts).mean(dim=0).cpu()
            progress.update(len(batch))
    return outputs


def write_embeddings(path: Path, table: pd.DataFrame, embeddings: np.ndarray) -> None:
    """Write image_id, product_id and embedding (a fixed-size list of float32), a row per row of `table`."""
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

    Raises MarketplaceError when they are not those of the images of `table`, in its order.
    """
    stored = pq.read_table(path)
    if stored["image_id"].to_pylist() != table["image_id"].tolist():
        raise MarketplaceError(f"{path} is of other images than the training data: run `dvc repro extract`.")
    vectors = stored["embedding"].combine_chunks()
    values: np.ndarray = vectors.flatten().to_numpy().reshape(len(vectors), -1)
    return values
