"""The image model: from an image to its two vectors, in one self-describing file."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from marketplace.embedding.projection import Projection
from marketplace.inference.outputs import Outputs, mean_of
from marketplace.models import checkpoints
from marketplace.models.backbones import BACKBONES, StateDict
from marketplace.models.checkpoints import Provenance
from marketplace.models.network import Network, normalised_pixels
from marketplace.photos.codec import BACKGROUND

DETAIL_POWER = 1.0  # the trunk gives signed values, for which a power gains nothing
LEAF_TEMPERATURE = 0.7  # sharper probabilities of leaf categories agree better: chosen on a real marketplace


class ImageModelFile(Provenance):
    """The content of `models/image_model.pt`: everything needed to embed a photo, and where the weights came from."""

    backbone: str
    classifier: str  # linear or cosine
    background: tuple[int, int, int]  # RGB of the square that a photo is laid on; `size` pixels a side
    mean: tuple[float, float, float]  # pixels are scaled to 0..1, then normalised with mean and std
    std: tuple[float, float, float]
    mirrored: bool  # whether the mirror image's output is averaged in
    power: float
    detail_weight: float
    category_weight: float
    identity_dimensions: int
    kind_dimensions: int
    checkpoint_sha256: str  # of the checkpoint file that it was cut from
    state_dict: StateDict  # of the network and its projections


class Projections(nn.Module):
    """The three projections of a network's outputs, and how they make a photo's two vectors.

    The identity vector joins the embedding and the details, weighted with w = `detail_weight`:

        identity = [sqrt(1 - w) * identity(embeddings), sqrt(w) * detail(details)]

    The kind vector joins another projection of the embedding and the square roots of probabilities p (which have
    length 1, since probabilities sum to 1), weighted with v = `category_weight`, which root and leaf categories share:

        kind = [sqrt(1 - v) * kind(embeddings), sqrt(v / 2) * sqrt(p_root), sqrt(v / 2) * sqrt(p_leaf)]
    """

    def __init__(
        self, identity: Projection, detail: Projection, kind: Projection, detail_weight: float, category_weight: float
    ) -> None:
        super().__init__()
        self.identity = identity
        self.detail = detail
        self.kind = kind
        self.detail_weight = detail_weight
        self.category_weight = category_weight

    def forward(self, outputs: Outputs, probabilities: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
        """Identity vectors `(B, d)` and kind vectors `(B, k)`, of length 1.

        `probabilities` are `(B, n_categories)` and, if the network knows them, `(B, n_leaves)`; none: kinds do without.
        """
        w, v = self.detail_weight, self.category_weight if probabilities else 0
        identity = [(1 - w) ** 0.5 * self.identity(outputs.embeddings), w**0.5 * self.detail(outputs.details)]
        share = (v / max(1, len(probabilities))) ** 0.5
        kind = [(1 - v) ** 0.5 * self.kind(outputs.embeddings), *(share * p.sqrt() for p in probabilities)]
        return torch.cat(identity, dim=1), torch.cat(kind, dim=1)

    def kind_map(self, maps: Tensor) -> Tensor:
        """What each position of the last feature maps `(B, D, H, W)` adds to the kind vectors: `(B, H, W, l)`."""
        added: Tensor = (1 - self.category_weight) ** 0.5 * self.kind.contributions(maps)
        return added


class ImageVectors(NamedTuple):
    """The output of the image model for photos."""

    identity: Tensor  # (B, d) float32, of length 1
    kind: Tensor  # (B, k) float32, of length 1
    kind_map: Tensor  # (B, H, W, l) float32: its mean over positions is the first l values of the kind vector


class ImageModel(nn.Module):
    """A fine-tuned network and the projections of its outputs: from squares to vectors."""

    def __init__(self, network: Network, projections: Projections, *, mirrored: bool) -> None:
        super().__init__()
        self.network, self.projections, self.mirrored = network, projections, mirrored

    def forward(self, images: Tensor) -> ImageVectors:
        """Squares `(B, S, S, 3) uint8` to both vectors, and to what each position adds to the kind vector."""
        pixels = normalised_pixels(images, self.network.backbone)
        views = [pixels, pixels.flip(3)] if self.mirrored else [pixels]
        features = [self.network.trunk(view) for view in views]
        *layers, pool = self.network.tail.children()
        maps = [nn.Sequential(*layers)(one) for one in features]
        outputs = mean_of([Outputs(pool(map_), one.mean(dim=(2, 3))) for map_, one in zip(maps, features, strict=True)])
        if self.mirrored:
            maps[1] = maps[1].flip(3)
        identity, kind = self.vectors(outputs)
        kind_map = self.projections.kind_map(torch.stack(maps).mean(dim=0))
        return ImageVectors(identity=identity, kind=kind, kind_map=kind_map)

    def vectors(self, outputs: Outputs) -> tuple[Tensor, Tensor]:
        """The network's outputs, averaged with those of the mirror image, to both vectors."""
        vectors: tuple[Tensor, Tensor] = self.projections(outputs, self.probabilities(outputs.embeddings))
        return vectors

    def probabilities(self, embeddings: Tensor) -> list[Tensor]:
        """The probabilities of the root categories, and of the leaves if the network knows them."""
        found = [self.network.head(embeddings).softmax(dim=1)]
        if self.network.leaves is not None:
            found.append((self.network.leaves(embeddings) / LEAF_TEMPERATURE).softmax(dim=1))
        return found


def save(path: Path, model: ImageModel, provenance: Provenance, *, checkpoint_sha256: str) -> None:
    """Write the model and the provenance of the checkpoint that it was cut from."""
    network, projections = model.network, model.projections
    backbone = BACKBONES[network.backbone]
    content: ImageModelFile = {
        "weights": provenance["weights"],
        "size": provenance["size"],
        "categories": provenance["categories"],
        "leaves": provenance["leaves"],
        "epoch": provenance["epoch"],
        "figures": provenance["figures"],
        "backbone": network.backbone,
        "classifier": network.classifier,
        "background": BACKGROUND,
        "mean": backbone.mean,
        "std": backbone.std,
        "mirrored": model.mirrored,
        "power": projections.identity.power,
        "detail_weight": projections.detail_weight,
        "category_weight": projections.category_weight,
        "identity_dimensions": len(projections.identity.matrix) + len(projections.detail.matrix),
        "kind_dimensions": len(projections.kind.matrix) + len(provenance["categories"]) + len(provenance["leaves"]),
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
    network = Network(
        content["backbone"], len(content["categories"]), content["classifier"], n_leaves=len(content["leaves"])
    )
    projections = Projections(
        identity=_empty(state, "identity", content["power"]),
        detail=_empty(state, "detail", DETAIL_POWER),
        kind=_empty(state, "kind", content["power"]),
        detail_weight=content["detail_weight"],
        category_weight=content["category_weight"],
    )
    model = ImageModel(network, projections, mirrored=content["mirrored"])
    model.load_state_dict(state)
    return model.eval(), content


def _empty(state: StateDict, name: str, power: float) -> Projection:
    mean, matrix = (torch.empty_like(state[f"projections.{name}.{part}"]) for part in ("mean", "matrix"))
    return Projection(power, mean, matrix)
