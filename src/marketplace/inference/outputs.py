"""The outputs of a network for every image of an array, before any projection."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from marketplace.common.errors import MarketplaceError
from marketplace.common.progress import progress_bar
from marketplace.compute.arrays import Images
from marketplace.compute.packs import Packs, cut
from marketplace.compute.recipe import recipe
from marketplace.inference.features import Features, FeatureStore, digest, trunk_key
from marketplace.models import checkpoints
from marketplace.models.checkpoints import Checkpoint
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


def network_outputs(network: Network, images: Images, *, mirrored: bool = False) -> Outputs:
    """The outputs of a network, before its head, for every image `(N, S, S, 3) uint8`.

    `mirrored` averages with the mirror image. What the same network has given for the same pixels is found again, even
    if it was for another catalogue.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.eval().to(device)
    store = FeatureStore(network, images)
    tail = [digest(value.cpu().numpy()) for value in network.tail.state_dict().values()]
    packs = Packs(recipe((__file__,), (), trunk=trunk_key(network), tail=tail, size=images.shape[1], mirrored=mirrored))

    def compute(rows: np.ndarray) -> Iterable[np.ndarray]:
        views = [store.features(mirrored=flip) for flip in ((False, True) if mirrored else (False,))]
        return progress_bar(_compute(network, views, rows), total=len(rows), what="embedding", unit="image")

    values = packs.fill(packs.find(store.keys), compute)
    width = network.dimensions
    return Outputs(*(torch.from_numpy(part) for part in (values[:, :width], values[:, width:])))


@torch.inference_mode()
def _compute(network: Network, views: Sequence[Features], rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield each image's embedding and details side by side, `(D + C,) float32`."""
    device = next(network.parameters()).device
    for batch in cut(rows, BATCH):
        whole = np.resize(batch, BATCH)  # a batch of another size may round otherwise
        outputs = mean_of([outputs_of(network, view(whole).to(device)) for view in views])
        yield from torch.cat(outputs, dim=1)[: len(batch)].numpy()


def outputs_of(network: Network, features: Tensor) -> Outputs:
    """The outputs for the trunk's features `(B, C, H, W)`."""
    return Outputs(network.tail(features), features.mean(dim=(2, 3)))


def mean_of(views: list[Outputs]) -> Outputs:
    """The mean of several views of the same images, in main memory."""
    return Outputs(*(torch.stack(values).mean(dim=0).cpu() for values in zip(*views, strict=True)))
