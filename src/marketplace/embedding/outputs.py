"""The outputs of a network for every image of an array, before any projection."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from marketplace.common.errors import MarketplaceError
from marketplace.models import checkpoints
from marketplace.models.checkpoints import Checkpoint
from marketplace.models.features import FeatureStore
from marketplace.models.network import Network

BATCH = 32


def chosen_checkpoint(path: Path, metrics: Path) -> Checkpoint:
    """The checkpoint of a training run.

    Raises MarketplaceError if it is not of the epoch that the run's metrics say was chosen.
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
def pooled(network: Network, images: np.ndarray, *, mirrored: bool = False) -> Tensor:
    """The embeddings of a network, before its head: `(N, D) float32`.

    `images` are `(N, S, S, 3) uint8`; `mirrored` averages with the mirror image. Stored features are used if there are
    any.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.eval().to(device)
    rows = np.arange(len(images))
    store = FeatureStore(network, images)
    views = [store.features(rows, mirrored=flip) for flip in ((False, True) if mirrored else (False,))]
    outputs = torch.empty(len(images), network.dimensions)
    with tqdm(total=len(rows), desc="embedding", unit="image", mininterval=0.5) as progress:
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            parts = [network.tail(view(batch).to(device)) for view in views]
            outputs[start : start + len(batch)] = torch.stack(parts).mean(dim=0).cpu()
            progress.update(len(batch))
    return outputs
