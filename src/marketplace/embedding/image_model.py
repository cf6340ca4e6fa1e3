"""The image model: from an image to its two vectors, in one self-describing file."""

from pathlib import Path

import torch
from torch import Tensor, nn

from marketplace.embedding.projection import Projection
from marketplace.models import checkpoints
from marketplace.models.backbones import BACKBONES, StateDict
from marketplace.models.checkpoints import Provenance
from marketplace.models.network import Network, normalised_pixels
from marketplace.photos.codec import BACKGROUND


class ImageModelFile(Provenance):
    """The content of `models/image_model.pt`: everything needed to embed a photo, and where the weights came from."""

    backbone: str
    classifier: str  # linear or cosine
    background: tuple[int, int, int]  # RGB of the square that a photo is laid on; `size` pixels a side
    mean: tuple[float, float, float]  # pixels are scaled to 0..1, then normalised with mean and std
    std: tuple[float, float, float]
    mirrored: bool  # whether the mirror image's output is averaged in
    power: float
    category_weight: float
    dimensions: int  # of a product vector
    kind_dimensions: int  # of a kind vector
    checkpoint_sha256: str  # of the checkpoint file that it was cut from
    state_dict: StateDict  # of the network and both projections


class ImageModel(nn.Module):
    """A fine-tuned network and the two projections of its outputs.

    The product vector is a projection of the embedding. The kind vector is another one, beside the square roots of the
    categories' probabilities p (which have length 1, since the probabilities sum to 1):

        kind = [sqrt(1 - w) * projection, sqrt(w) * sqrt(p)]
    """

    def __init__(
        self, network: Network, product: Projection, kind: Projection, *, mirrored: bool, category_weight: float
    ) -> None:
        super().__init__()
        self.network, self.product, self.kind = network, product, kind
        self.mirrored, self.category_weight = mirrored, category_weight

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Squares `(B, S, S, 3) uint8` to product vectors `(B, d)` and kind vectors `(B, k)`, float32 of length 1."""
        pixels = normalised_pixels(images, self.network.backbone)
        outputs = self.network.tail(self.network.trunk(pixels))
        if self.mirrored:
            outputs = (outputs + self.network.tail(self.network.trunk(pixels.flip(3)))) / 2
        return self.vectors(outputs)

    def vectors(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """The network's embeddings `(B, D)`, averaged with those of the mirror image, to both vectors."""
        probabilities = self.network.head(outputs).softmax(dim=1)
        weight = self.category_weight
        parts = [(1 - weight) ** 0.5 * self.kind(outputs), weight**0.5 * probabilities.sqrt()]
        return self.product(outputs), torch.cat(parts, dim=1)


def save(path: Path, model: ImageModel, provenance: Provenance, *, checkpoint_sha256: str) -> None:
    """Write the model and the provenance of the checkpoint that it was cut from."""
    network, backbone = model.network, BACKBONES[model.network.backbone]
    content: ImageModelFile = {
        "weights": provenance["weights"],
        "size": provenance["size"],
        "categories": provenance["categories"],
        "epoch": provenance["epoch"],
        "figures": provenance["figures"],
        "backbone": network.backbone,
        "classifier": network.classifier,
        "background": BACKGROUND,
        "mean": backbone.mean,
        "std": backbone.std,
        "mirrored": model.mirrored,
        "power": model.product.power,
        "category_weight": model.category_weight,
        "dimensions": len(model.product.matrix),
        "kind_dimensions": len(model.kind.matrix) + len(provenance["categories"]),
        "checkpoint_sha256": checkpoint_sha256,
        "state_dict": {name: value.detach().clone().contiguous() for name, value in model.state_dict().items()},
    }
    checkpoints.save(path, content)


def load(path: Path) -> tuple[ImageModel, ImageModelFile]:
    """The model, in evaluation mode, and the whole content of its file.

    Raises MarketplaceError if the file is missing or damaged.
    """
    content: ImageModelFile = checkpoints.load(path)
    state = content["state_dict"]
    network = Network(content["backbone"], len(content["categories"]), content["classifier"])
    product, kind = (
        Projection(content["power"], torch.empty_like(state[f"{name}.mean"]), torch.empty_like(state[f"{name}.matrix"]))
        for name in ("product", "kind")
    )
    model = ImageModel(network, product, kind, mirrored=content["mirrored"], category_weight=content["category_weight"])
    model.load_state_dict(state)
    return model.eval(), content
