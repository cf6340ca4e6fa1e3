"""The outputs of a network for every image of an array, before any projection."""

import json
from pathlib import Path
from typing import NamedTuple

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


class Outputs(NamedTuple):
    """What a network gives for images, averaged over positions."""

    embeddings: Tensor  # (N, D) float32, of the tail
    details: Tensor  # (N, C) float32, of the trunk: colours, materials and patterns rather than kinds of things


@torch.inference_mode()
def network_outputs(network: Network, images: np.ndarray, *, mirrored: bool = False) -> Outputs:
    """The outputs of a network, before its head, for every image.

    `images` are `(N, S, S, 3) uint8`; `mirrored` averages with the mirror image. Stored features are used if there are
    any.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.eval().to(device)
    rows = np.arange(len(images))
    store = FeatureStore(network, images)
    views = [store.features(rows, mirrored=flip) for flip in ((False, True) if mirrored else (False,))]
    parts: list[Outputs] = []
    with tqdm(total=len(rows), desc="embedding", unit="image", mininterval=0.5) as progress:
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            parts.append(mean_of([outputs_of(network, view(batch).to(device)) for view in views]))
            progress.update(len(batch))
    return Outputs(*(torch.cat(values) for values in zip(*parts, strict=True)))


def outputs_of(network: Network, features: Tensor) -> Outputs:
    """The outputs for the trunk's features `(B, C, H, W)`."""
    return Outputs(network.tail(features), features.mean(dim=(2, 3)))


def mean_of(views: list[Outputs]) -> Outputs:
    """The mean of several views of the same images, in main memory."""
    return Outputs(*(torch.stack(values).mean(dim=0).cpu() for values in zip(*views, strict=True)))
