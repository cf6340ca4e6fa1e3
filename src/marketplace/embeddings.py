"""Vectors from images: the fine-tuned network without its head, saved so that it explains itself."""

import json
from pathlib import Path
from typing import TypedDict

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
from marketplace.images import BACKGROUND
from marketplace.networks import BACKBONES, Network

BATCH = 32


class ImageModel(TypedDict):
    """What `models/image_model.pt` holds: all that it takes to embed an image, and where the weights came from."""

    backbone: str
    weights: str  # the pretrained weights it was fine-tuned from
    size: int  # pixels a side of the square that an image is letterboxed on
    background: tuple[int, int, int]  # RGB of that square
    mean: tuple[float, float, float]  # pixels are scaled to 0..1, then normalised with mean and std
    std: tuple[float, float, float]
    dimensions: int  # of an embedding
    epoch: int  # the chosen one, from 1
    figures: dict[str, float]  # train_loss, val_loss and val_accuracy of that epoch
    checkpoint_sha256: str  # of the checkpoint file that it was cut from
    state_dict: dict[str, Tensor]  # of trunk and tail


def strip_head(path: Path, metrics: Path) -> ImageModel:
    """The image model of a trained checkpoint file.

    Raises MarketplaceError when the checkpoint is not the epoch that the training's metrics say was chosen.
    """
    checkpoint: Checkpoint = checkpoints.load(path)
    recorded = json.loads(metrics.read_text(encoding="utf-8"))["best"]
    held = {"epoch": checkpoint["epoch"], **checkpoint["figures"]}
    if held != recorded:
        raise MarketplaceError(
            f"{path} holds {held}, but {metrics} says that {recorded} was chosen: one of them is stale. "
            "Run `dvc repro --force train_full`."
        )
    backbone = BACKBONES[checkpoint["backbone"]]
    state = checkpoint["state_dict"]
    return ImageModel(
        backbone=checkpoint["backbone"], weights=checkpoint["weights"], size=checkpoint["size"], background=BACKGROUND,
        mean=backbone.mean, std=backbone.std, dimensions=state["head.imagenet.weight"].shape[1],
        epoch=checkpoint["epoch"], figures=checkpoint["figures"], checkpoint_sha256=checkpoints.sha256_of(path),
        state_dict={name: value for name, value in state.items() if not name.startswith("head.")},
    )  # fmt: skip


def network_of(model: ImageModel) -> Network:
    """The network of an image model, in evaluation mode; its head is a placeholder."""
    network = Network(model["backbone"], n_categories=1)
    head = {f"head.{name}": value for name, value in network.head.state_dict().items()}
    network.load_state_dict(head | model["state_dict"])
    return network.eval()


@torch.inference_mode()
def embed(network: Network, images: np.ndarray) -> np.ndarray:
    """Embeddings `(N, D) float32` of images `(N, S, S, 3) uint8`: the tail's pooled output, before any head.

    Stored features of the trunk are used where a training left them.
    """
    network.eval()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    rows = np.arange(len(images))
    features = FeatureStore(network, images).features(rows)
    embeddings = np.empty((len(images), network.dimensions), dtype=np.float32)
    with tqdm(total=len(rows), desc="embedding", unit="image", mininterval=0.5) as progress:
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            embeddings[batch] = network.tail(features(batch).to(device)).cpu().numpy()
            progress.update(len(batch))
    return embeddings


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
