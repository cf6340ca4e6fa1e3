"""The image model: from an image to its vector, in one self-describing file."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marketplace.embedding.projection import Projection
from marketplace.models import checkpoints
from marketplace.models.backbones import BACKBONES, StateDict
from marketplace.models.checkpoints import Provenance
from marketplace.models.network import Network, normalised_pixels
from marketplace.photos.codec import BACKGROUND


class ImageModelFile(Provenance):
    """The content of `models/image_model.pt`: everything needed to embed a photo, and where the weights came from."""

    backbone: str
    vectors: str  # tuned, untouched or joined
    background: tuple[int, int, int]  # RGB of the square that a photo is laid on; `size` pixels a side
    mean: tuple[float, float, float]  # pixels are scaled to 0..1, then normalised with mean and std
    std: tuple[float, float, float]
    mirrored: bool  # whether the mirror image's vector is averaged in
    power: float
    dimensions: int  # of a vector
    checkpoint_sha256: str  # of the checkpoint file that it was cut from
    state_dict: StateDict  # of trunk, tails and projection


class ImageModel(nn.Module):
    """One trunk, the tails of one or two networks, and the projection of their outputs to a vector."""

    def __init__(self, networks: Sequence[Network], projection: Projection, *, mirrored: bool) -> None:
        super().__init__()
        self.backbone, self.mirrored = networks[0].backbone, mirrored
        self.trunk = networks[0].trunk
        self.tails = nn.ModuleList(network.tail for network in networks)
        self.projection = projection

    def forward(self, images: Tensor) -> Tensor:
        """Squares `(B, S, S, 3) uint8` to vectors `(B, d) float32` of length 1."""
        pixels = normalised_pixels(images, self.backbone)
        outputs = joined([tail(self.trunk(pixels)) for tail in self.tails])
        if self.mirrored:
            outputs = (outputs + joined([tail(self.trunk(pixels.flip(3))) for tail in self.tails])) / 2
        vectors: Tensor = self.projection(outputs)
        return vectors


def joined(outputs: list[Tensor]) -> Tensor:
    """The outputs `(B, D)` of one network unchanged; those of several, each scaled to length 1, side by side."""
    return outputs[0] if len(outputs) == 1 else torch.cat([F.normalize(part) for part in outputs], dim=1)


def save(path: Path, model: ImageModel, provenance: Provenance, *, vectors: str, checkpoint_sha256: str) -> None:
    """Write the model and the provenance of the checkpoint that it was cut from."""
    backbone, projection = BACKBONES[model.backbone], model.projection
    state = {name: value.detach().clone().contiguous() for name, value in model.state_dict().items()}
    content: ImageModelFile = {
        "weights": provenance["weights"],
        "size": provenance["size"],
        "categories": provenance["categories"],
        "epoch": provenance["epoch"],
        "figures": provenance["figures"],
        "backbone": model.backbone,
        "vectors": vectors,
        "background": BACKGROUND,
        "mean": backbone.mean,
        "std": backbone.std,
        "mirrored": model.mirrored,
        "power": projection.power,
        "dimensions": len(projection.matrix),
        "checkpoint_sha256": checkpoint_sha256,
        "state_dict": state,
    }
    checkpoints.save(path, content)


def load(path: Path) -> tuple[ImageModel, ImageModelFile]:
    """The model, in evaluation mode, and the whole content of its file.

    Raises MarketplaceError if the file is missing or damaged.
    """
    content: ImageModelFile = checkpoints.load(path)
    state = content["state_dict"]
    n_tails = len({name.split(".")[1] for name in state if name.startswith("tails.")})
    networks = [Network(content["backbone"], n_categories=1) for _ in range(n_tails)]
    mean, matrix = (torch.empty_like(state[f"projection.{name}"]) for name in ("mean", "matrix"))
    model = ImageModel(networks, Projection(content["power"], mean, matrix), mirrored=content["mirrored"])
    model.load_state_dict(state)
    return model.eval(), content
