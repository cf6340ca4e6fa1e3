"""A backbone cut in three: a frozen trunk, a tail that is fine-tuned, and a head that predicts categories.

    image --trunk--> features --tail--> embedding --head--> logits

The trunk ends before the network's last stage. The tail is that stage and the pooling after it. The head is the
network's own 1000-way ImageNet classifier followed by a `Linear(1000, n_categories)`; or, with `classifier="cosine"`,
one layer that compares the embedding's direction with one direction per category. While it is trained, a second such
layer may tell the leaf categories apart.
"""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marketplace.common.errors import MarketplaceError, first_line
from marketplace.models.backbones import BACKBONES, StateDict

IMAGENET_CLASSES = 1000
COSINE_SCALE = 16.0  # so that the right category's softmax can come near 1: cosines alone end at 1


class CosineClassifier(nn.Linear):
    """Logits are the scaled cosines of the input and each category's weight (Gidaris & Komodakis, arXiv:1804.09458)."""

    def __init__(self, dimensions: int, n_categories: int) -> None:
        super().__init__(dimensions, n_categories, bias=False)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Embeddings `(B, D)` to logits `(B, n_categories)`."""
        return COSINE_SCALE * F.linear(F.normalize(embeddings), F.normalize(self.weight))


class Network(nn.Module):
    """A backbone in three parts; `forward` runs from normalised pixels to logits."""

    def __init__(self, backbone: str, n_categories: int, classifier: str = "linear", n_leaves: int = 0) -> None:
        super().__init__()
        self.backbone, self.classifier = backbone, classifier
        self.trunk, self.tail, imagenet = BACKBONES[backbone].split(BACKBONES[backbone].build())
        self.dimensions = imagenet.in_features
        layers: dict[str, OrderedDict[str, nn.Module]] = {
            "linear": OrderedDict(imagenet=imagenet, categories=nn.Linear(IMAGENET_CLASSES, n_categories)),
            "cosine": OrderedDict(categories=CosineClassifier(self.dimensions, n_categories)),
        }
        self.head = nn.Sequential(layers[classifier])
        self.leaves = CosineClassifier(self.dimensions, n_leaves) if n_leaves else None
        self.trunk.requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # twice as fast on a CPU

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels `(B, 3, S, S)` to logits `(B, n_categories)`."""
        logits: Tensor = self.head(self.tail(self.trunk(pixels)))
        return logits

    def train(self, mode: bool = True) -> "Network":
        """Set training mode for the tail and the head only: the trunk's BatchNorm statistics must not move."""
        super().train(mode)
        self.trunk.eval()
        return self

    def pixels(self, images: np.ndarray) -> Tensor:
        """Images `(B, S, S, 3) uint8` as the normalised float32 `(B, 3, S, S)` that the trunk expects."""
        return normalised_pixels(torch.from_numpy(images).to(next(self.parameters()).device), self.backbone)


def normalised_pixels(images: Tensor, backbone: str) -> Tensor:
    """Images `(B, S, S, 3) uint8` as the float32 `(B, 3, S, S)` that a backbone expects."""
    mean = torch.tensor(BACKBONES[backbone].mean, device=images.device)
    std = torch.tensor(BACKBONES[backbone].std, device=images.device)
    return ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2)  # channels_last in memory, as the layers are


def pretrained_network(backbone: str, weights: str) -> Network:
    """Build a network with its pretrained weights: a name, the path of a state dict, or `none` (random).

    The layer that predicts categories is a placeholder, with one category.

    Raises MarketplaceError if the name is unknown, the weights cannot be downloaded, or the file does not fit.
    """
    known = BACKBONES[backbone].weight_names
    network = Network(backbone, n_categories=1)
    if weights == "none":
        return network
    if weights in known:
        state = BACKBONES[backbone].load_weights(weights)
    elif Path(weights).is_file():
        state = _read_state_dict(Path(weights))
    else:
        raise MarketplaceError(
            f"model.weights = {weights!r} is neither a file nor weights that {backbone} has: "
            f"{', '.join(known)}, the path of a state dict, or none."
        )
    whole = BACKBONES[backbone].build()
    try:
        whole.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).split("\n")[1].strip() if "\n" in str(error) else str(error)
        raise MarketplaceError(f"model.weights = {weights!r} does not fit {backbone}: {first[:200]}") from None
    network.trunk, network.tail, network.head.imagenet = BACKBONES[backbone].split(whole)
    network.trunk.requires_grad_(False)
    return network.to(memory_format=torch.channels_last)


def _read_state_dict(path: Path) -> StateDict:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever unpickling a stranger's file brings up
        raise MarketplaceError(f"model.weights = {str(path)!r} is not a state dict: {first_line(error)}") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise MarketplaceError(f"model.weights = {str(path)!r} is not a state dict (a dict of names to tensors).")
    return state
