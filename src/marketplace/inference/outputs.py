"""The outputs of a network for every image of an array, before any projection."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from marketplace.common.damage import how_to_heal, reading
from marketplace.common.errors import MarketplaceError
from marketplace.common.progress import progress_bar
from marketplace.compute.arrays import Images
from marketplace.compute.packs import Packs, cut
from marketplace.compute.recipe import recipe
from marketplace.inference.features import Features, FeatureStore, digest, trunk_recipe
from marketplace.models import checkpoints
from marketplace.models.checkpoints import Checkpoint
from marketplace.models.network import Network

TAIL_BATCH = 32  # images


def chosen_checkpoint(path: Path, metrics: Path) -> Checkpoint:
    """Load the checkpoint of a training run.

    Raises MarketplaceError if it is not of the epoch that was chosen according to the run's metrics.
    """
    checkpoint: Checkpoint = checkpoints.load(path)
    with reading(metrics):
        chosen = json.loads(metrics.read_text(encoding="utf-8"))["best"]
    content = {"epoch": checkpoint["epoch"], **checkpoint["figures"]}
    if content != chosen:
        raise MarketplaceError(
            f"{path} holds {content}, but {metrics} says that {chosen} was chosen: one of them is stale or damaged. "
            f"To make them again, {how_to_heal(path, metrics)}."
        )
    return checkpoint


class Outputs(NamedTuple):
    """A network's outputs for images, averaged over positions."""

    embeddings: Tensor  # (N, D) float32, of the tail
    details: Tensor  # (N, C) float32, of the trunk: colours, materials and patterns rather than kinds of things


def network_outputs(network: Network, images: Images, *, mirrored: bool = False) -> Outputs:
    """Return the outputs of a network, before its head, for every image `(N, S, S, 3) uint8`.

    `mirrored` averages with the mirror image. Outputs of the same network for the same pixels are found again, even if
    they were computed for another catalogue.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.eval().to(device)
    store = FeatureStore(network, images)
    tail = [digest(value.cpu().numpy()) for value in network.tail.state_dict().values()]
    trunk = trunk_recipe(network)
    packs = Packs(recipe((__file__,), (), trunk=trunk, tail=tail, size=images.shape[1], mirrored=mirrored))

    def compute(rows: np.ndarray) -> Iterable[np.ndarray]:
        views = [store.features(mirrored=flip) for flip in ((False, True) if mirrored else (False,))]
        return progress_bar(_compute(network, views, rows), total=len(rows), description="embedding", unit="image")

    values = packs.fill(packs.find(store.keys), compute)
    return Outputs(
        embeddings=torch.from_numpy(values[:, : network.dimensions]),
        details=torch.from_numpy(values[:, network.dimensions :]),
    )


@torch.inference_mode()
def _compute(network: Network, views: Sequence[Features], rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield each image's embedding and details side by side, `(D + C,) float32`."""
    device = next(network.parameters()).device
    for batch in cut(rows, TAIL_BATCH):
        whole = np.resize(batch, TAIL_BATCH)  # a batch of another size may round otherwise
        outputs = mean_of([outputs_of(network, view(whole).to(device)) for view in views])
        yield from torch.cat(outputs, dim=1)[: len(batch)].numpy()


def outputs_of(network: Network, features: Tensor) -> Outputs:
    """Return the outputs for the trunk's features `(B, C, H, W)`."""
    return Outputs(embeddings=network.tail(features), details=features.mean(dim=(2, 3)))


def mean_of(views: list[Outputs]) -> Outputs:
    """Return the mean of several views of the same images, in main memory."""
    return Outputs(
        embeddings=torch.stack([view.embeddings for view in views]).mean(dim=0).cpu(),
        details=torch.stack([view.details for view in views]).mean(dim=0).cpu(),
    )
