"""A backbone cut in three: a frozen trunk, a tail that is fine-tuned, and a head that predicts categories.

    image --trunk--> features --tail--> embedding --head--> logits

The trunk ends before the network's last stage. The tail is that stage and a global average pool. The head is the
network's own 1000-way ImageNet classifier followed by a `Linear(1000, n_categories)`; or, with `classifier="cosine"`,
one layer that compares the embedding's direction with one direction per category. A second such layer may predict leaf
categories, and a linear layer the vector of the photo's title.
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
COSINE_SCALE = 16.0  # lets the softmax of the right category come near 1: bare cosines end at 1
CHECK_SIZE = 128  # pixels per side of the image with which a cut is checked


class GlobalAveragePool(nn.Module):
    """The mean over positions, with a gradient that has its channels last in memory, like the layers before it.

    PyTorch's own gradient of a mean over the last two axes has them first. The backward passes of BatchNorm and of the
    activation expect one layout throughout, and with another, a training step takes twice as long.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Feature maps `(B, C, H, W)` to embeddings `(B, C)`."""
        if maps.requires_grad:
            return maps.permute(0, 2, 3, 1).mean(dim=(1, 2))  # the same sums
        return maps.mean(dim=(2, 3))  # one operation in an exported network


class CosineClassifier(nn.Linear):
    """Logits are the scaled cosines of the input and each category's weight (Gidaris & Komodakis, arXiv:1804.09458)."""

    def __init__(self, dimensions: int, n_categories: int) -> None:
        super().__init__(dimensions, n_categories, bias=False)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Embeddings `(B, D)` to logits `(B, n_categories)`."""
        return COSINE_SCALE * F.linear(F.normalize(embeddings), F.normalize(self.weight))


class Network(nn.Module):
    """A backbone in three parts; `forward` runs from normalised pixels to logits.

    `whole` is the uncut backbone; None builds one with random weights.
    """

    def __init__(
        self,
        backbone: str,
        n_categories: int,
        classifier: str = "linear",
        n_leaves: int = 0,
        title_dimensions: int = 0,
        whole: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = classifier
        definition = BACKBONES[backbone]
        self.trunk, last_stage, imagenet = definition.split(definition.build() if whole is None else whole)
        self.tail = nn.Sequential(OrderedDict([*last_stage.named_children(), ("pool", GlobalAveragePool())]))
        self.dimensions = imagenet.in_features
        # Both are built whichever is used, so that the seed gives `leaves` the same random weights.
        heads: dict[str, OrderedDict[str, nn.Module]] = {
            "linear": OrderedDict(imagenet=imagenet, categories=nn.Linear(IMAGENET_CLASSES, n_categories)),
            "cosine": OrderedDict(categories=CosineClassifier(self.dimensions, n_categories)),
        }
        self.head = nn.Sequential(heads[classifier])
        self.leaves = CosineClassifier(self.dimensions, n_leaves) if n_leaves else None
        self.title = nn.Linear(self.dimensions, title_dimensions) if title_dimensions else None
        self.trunk.requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # twice as fast on a CPU

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels `(B, 3, S, S)` to logits `(B, n_categories)`."""
        return self.head(self.tail(self.trunk(pixels)))

    def last_maps(self, features: Tensor) -> Tensor:
        """The trunk's features `(B, C, h, w)` to the tail's feature maps `(B, D, H, W)`, before they are pooled."""
        return self.tail[:-1](features)

    def pool(self, maps: Tensor) -> Tensor:
        """The tail's feature maps `(B, D, H, W)` to embeddings `(B, D)`."""
        return self.tail[-1](maps)

    def train(self, mode: bool = True) -> "Network":
        """Set training mode for the tail and the head only: the trunk's BatchNorm statistics must not move."""
        super().train(mode)
        self.trunk.eval()
        for layer in self.tail.modules():
            if isinstance(layer, nn.Hardtanh):  # ReLU6 is one
                layer.inplace = not mode  # in place, PyTorch would copy the input, which its gradient needs
        return self

    def pixels(self, images: np.ndarray) -> Tensor:
        """Images `(B, S, S, 3) uint8` to the normalised float32 `(B, 3, S, S)` that the trunk expects."""
        device = next(self.parameters()).device
        return normalise_pixels(torch.from_numpy(images).to(device), self.backbone)


def normalise_pixels(images: Tensor, backbone: str) -> Tensor:
    """Images `(B, S, S, 3) uint8` to the float32 `(B, 3, S, S)` that a backbone expects."""
    mean = torch.tensor(BACKBONES[backbone].mean, device=images.device)
    std = torch.tensor(BACKBONES[backbone].std, device=images.device)
    return ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2)  # channels last in memory, like the layers


def build_pretrained_network(backbone: str, weights: str) -> Network:
    """Build a network with its pretrained weights, in evaluation mode.

    `weights` is one of the backbone's names, the path of a state dict, or `none` for random weights. The layer that
    predicts categories is a placeholder, with one category.

    Raises MarketplaceError if the name is unknown, the weights cannot be downloaded, the file does not fit, or the
    backbone is cut at the wrong place.
    """
    whole = BACKBONES[backbone].build()
    if weights != "none":
        state = _load_weights(backbone, weights)
        try:
            whole.load_state_dict(state)
        except RuntimeError as error:
            reason = str(error).split("\n")[1].strip() if "\n" in str(error) else str(error)
            raise MarketplaceError(f"model.weights = {weights!r} does not fit {backbone}: {reason[:200]}") from None
    network = Network(backbone, n_categories=1, whole=whole).eval()
    _check_cut(network)
    return network


def _load_weights(backbone: str, weights: str) -> StateDict:
    """Load the weights of a backbone by their name, or from the file of a state dict."""
    names = BACKBONES[backbone].weight_names
    if weights in names:
        return BACKBONES[backbone].load_weights(weights)
    if Path(weights).is_file():
        return _read_state_dict(Path(weights))
    raise MarketplaceError(
        f"model.weights = {weights!r} is neither a file nor weights that {backbone} has: "
        f"{', '.join(names)}, the path of a state dict, or none."
    )


def _read_state_dict(path: Path) -> StateDict:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever unpickling an unknown file brings up
        raise MarketplaceError(f"model.weights = {str(path)!r} is not a state dict: {first_line(error)}") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise MarketplaceError(f"model.weights = {str(path)!r} is not a state dict (a dict of names to tensors).")
    return state


@torch.no_grad()
def _check_cut(network: Network) -> None:
    """Raise MarketplaceError if the trunk or the last stage has no positions left: heat maps would be one value."""
    features = network.trunk(torch.zeros(1, 3, CHECK_SIZE, CHECK_SIZE))  # (1, C, h, w)
    for name, maps in (("trunk", features), ("last stage", network.last_maps(features))):
        if maps.ndim != 4 or maps.shape[2] == 1:
            raise MarketplaceError(
                f"the {name} of {network.backbone} gives {tuple(maps.shape)} for an image of {CHECK_SIZE} px, not "
                "feature maps (1, C, H, W) with H and W above 1: have `split` in models/backbones.py leave out the "
                "pooling and what follows it (Network adds the pooling itself)."
            )
