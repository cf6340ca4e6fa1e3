"""The files that hold networks: plain dictionaries that `torch.load(..., weights_only=True)` reads."""

import io
import logging
from pathlib import Path
from typing import IO, Any, TypedDict, Unpack

import torch

from marketplace.common.damage import parsing
from marketplace.common.files import replacing
from marketplace.models.backbones import StateDict
from marketplace.models.network import Network

log = logging.getLogger(__name__)

NEW_LAYERS = ("head.categories.", "leaves.", "title.")  # that a pretrained network does not have yet


class Provenance(TypedDict):
    """The origin of a network."""

    weights: str  # the pretrained weights it started from
    size: int  # pixels per side of the images it was trained on; 0 before any training
    categories: list[str]  # label -> name; empty before any training
    leaves: list[str]  # likewise for leaf categories; empty if no layer predicts them
    epoch: int  # the chosen epoch, from 1; 0 before any training
    figures: dict[str, float]  # train_loss, val_loss, val_accuracy and val_recall_at_1 of that epoch


class Checkpoint(Provenance):
    """A network with all three parts, and its origin."""

    backbone: str
    classifier: str  # linear or cosine
    state_dict: StateDict


def to_bytes(content: Any) -> memoryview:
    """Return the file of a dictionary of tensors and plain values; the same content gives the same bytes."""
    # In memory: torch would write the file's name into the file, and hide the error of a full disk.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getbuffer()


def save(path: Path, content: Any) -> None:
    """Write a dictionary of tensors and plain values. Raises OSError if the disk cannot hold it."""
    with replacing(path) as part:
        part.write_bytes(to_bytes(content))


def save_pretrained(path: Path, network: Network, weights: str) -> None:
    """Write the checkpoint of a network before any training, without the layers that training adds."""
    checkpoint = checkpoint_of(network, weights=weights, size=0, categories=[], leaves=[], epoch=0, figures={})
    state = checkpoint["state_dict"]
    checkpoint["state_dict"] = {name: state[name] for name in state if not name.startswith(NEW_LAYERS)}
    save(path, checkpoint)
    log.info("%s: %s with the weights %s", path, network.backbone, weights)


def read(file: Path | IO[bytes]) -> Any:
    """Read the bytes that `to_bytes` returned. Raises all kinds of errors for anything else."""
    return torch.load(file, map_location="cpu", weights_only=True)


def load(path: Path) -> Any:
    """Read a file that `save` wrote. Raises MarketplaceError if it is missing or damaged."""
    with parsing(path):
        return read(path)


def checkpoint_of(network: Network, **provenance: Unpack[Provenance]) -> Checkpoint:
    """Return the checkpoint of a network as it is now, with its tensors copied."""
    state = copy_state(network)
    return Checkpoint(backbone=network.backbone, classifier=network.classifier, state_dict=state, **provenance)


def copy_state(network: Network) -> StateDict:
    """Return a copy of a network's weights and statistics."""
    return {name: value.detach().cpu().clone().contiguous() for name, value in network.state_dict().items()}


def network_of(
    checkpoint: Checkpoint,
    n_categories: int | None = None,
    classifier: str | None = None,
    n_leaves: int | None = None,
    title_dimensions: int | None = None,
) -> Network:
    """Build the network of a checkpoint, in evaluation mode.

    Layers that training adds start at random if the checkpoint does not have them. `n_categories`, `classifier`,
    `n_leaves` and `title_dimensions` are the checkpoint's if they are None; before training, it has one category.
    """
    if n_categories is None:
        weights = checkpoint["state_dict"].get("head.categories.weight")
        n_categories = 1 if weights is None else len(weights)
    if title_dimensions is None:
        title_dimensions = len(checkpoint["state_dict"].get("title.weight", ()))
    network = Network(
        checkpoint["backbone"],
        n_categories=n_categories,
        classifier=checkpoint["classifier"] if classifier is None else classifier,
        n_leaves=len(checkpoint["leaves"]) if n_leaves is None else n_leaves,
        title_dimensions=title_dimensions,
    )
    state = network.state_dict()
    random = {name: value for name, value in state.items() if name.startswith(NEW_LAYERS)}
    # A cosine classifier has no ImageNet layer, and a network that predicts no leaves or titles no layer for them.
    stored = {name: value for name, value in checkpoint["state_dict"].items() if name in state}
    network.load_state_dict(random | stored)
    return network.eval()
