"""The image model: from an image to its vectors, in one self-describing file."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marketplace.embedding.projection import Projection
from marketplace.inference.outputs import Outputs
from marketplace.models import checkpoints
from marketplace.models.backbones import BACKBONES, StateDict
from marketplace.models.checkpoints import Provenance
from marketplace.models.network import Network, normalise_pixels
from marketplace.photos.codec import BACKGROUND


class ImageModelFile(Provenance):
    """The content of `models/image_model.pt`: everything needed to embed a photo, and where the weights came from."""

    backbone: str
    classifier: str  # linear or cosine
    background: tuple[int, int, int]  # RGB of the square around a photo; `size` is its pixels per side
    mean: tuple[float, float, float]  # pixels are scaled to 0..1, then normalised with mean and std
    std: tuple[float, float, float]
    mirrored: bool  # whether outputs are averaged with the mirror image's
    power: float
    detail_power: float
    detail_weight: float
    category_weight: float
    leaf_temperature: float
    identity_dimensions: int
    kind_dimensions: int
    title_dimensions: int
    checkpoint_sha256: str  # the checkpoint file that the network comes from
    state_dict: StateDict  # the network and its projections


class Projections(nn.Module):
    """The three projections of a network's outputs, and how they form a photo's two vectors.

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
        """Return identity vectors `(B, d)` and kind vectors `(B, k)`, of length 1.

        `probabilities` are `(B, n_categories)` and, if the network predicts leaf categories, `(B, n_leaves)`; if they
        are empty, the kind vector has no category part.
        """
        w = self.detail_weight
        identity = [(1 - w) ** 0.5 * self.identity(outputs.embeddings), w**0.5 * self.detail(outputs.details)]
        v = self.category_weight if probabilities else 0
        kind = [(1 - v) ** 0.5 * self.kind(outputs.embeddings)]
        kind += [(v / len(probabilities)) ** 0.5 * p.sqrt() for p in probabilities]
        return torch.cat(identity, dim=1), torch.cat(kind, dim=1)

    def kind_map(self, maps: Tensor) -> Tensor:
        """Return the contribution of each position of the last feature maps `(B, D, H, W)` to the kind vectors.

        It is `(B, H, W, l)` for the first l values of the vectors, which come from the embedding.
        """
        return (1 - self.category_weight) ** 0.5 * self.kind.contributions(maps)


class Vectors(NamedTuple):
    """The vectors of photos."""

    identity: Tensor  # (B, d) float32, of length 1
    kind: Tensor  # (B, k) float32, of length 1
    title: Tensor  # (B, m) float32, the predicted title's vector, of length 1; zeros if the network predicts none
    path: Tensor  # (B, p) float32, the expected vector of the category path, see embedding/paths.py


class ImageVectors(NamedTuple):
    """The output of the image model: the fields of Vectors, the probabilities of root categories, and a map."""

    identity: Tensor
    kind: Tensor
    title: Tensor
    path: Tensor
    category: Tensor  # (B, n_categories) float32, probabilities of the root categories in the order of their names
    kind_map: Tensor  # (B, H, W, l) float32: its mean over positions is the first l values of the kind vector


class ImageModel(nn.Module):
    """A fine-tuned network and the projections of its outputs: from squares to vectors.

    `paths` `(n, p)` are the vectors of the leaf categories, or of the root categories if the network predicts no
    leaves. `title_dimensions` is the length of a title's vector, even if the network predicts no titles.
    """

    paths: Tensor

    def __init__(
        self,
        network: Network,
        projections: Projections,
        paths: Tensor,
        title_dimensions: int,
        *,
        mirrored: bool,
        leaf_temperature: float,
    ) -> None:
        super().__init__()
        self.network = network
        self.projections = projections
        self.register_buffer("paths", paths)
        self.title_dimensions = title_dimensions
        self.mirrored = mirrored
        self.leaf_temperature = leaf_temperature

    def forward(self, images: Tensor) -> ImageVectors:
        """Squares `(B, S, S, 3) uint8` to vectors, and to the contribution of each position to the kind vector."""
        pixels = normalise_pixels(images, self.network.backbone)  # (B, 3, S, S)
        if self.mirrored:
            # As one batch (2B, 3, S, S): the exported graph has every layer once.
            pixels = torch.cat([pixels, pixels.flip(3)])
        features = self.network.trunk(pixels)  # (B or 2B, C, h, w)
        details = features.mean(dim=(2, 3))  # (B or 2B, C)
        maps = self.network.last_maps(features)  # (B or 2B, D, H, W)
        embeddings = self.network.pool(maps)  # (B or 2B, D)
        if self.mirrored:
            details = _split_views(details).mean(dim=0)
            embeddings = _split_views(embeddings).mean(dim=0)
            plain_maps, mirrored_maps = _split_views(maps)
            maps = (plain_maps + mirrored_maps.flip(3)) / 2
        probabilities = self.probabilities(embeddings)
        vectors = self._project(Outputs(embeddings=embeddings, details=details), probabilities)
        return ImageVectors(
            identity=vectors.identity,
            kind=vectors.kind,
            title=vectors.title,
            path=vectors.path,
            category=probabilities[0],
            kind_map=self.projections.kind_map(maps),
        )

    def vectors(self, outputs: Outputs) -> Vectors:
        """The network's outputs, averaged over both views if `mirrored`, to vectors."""
        return self._project(outputs, self.probabilities(outputs.embeddings))

    def _project(self, outputs: Outputs, probabilities: list[Tensor]) -> Vectors:
        identity, kind = self.projections(outputs, probabilities)
        title = self.titles(outputs.embeddings)
        return Vectors(identity=identity, kind=kind, title=title, path=probabilities[-1] @ self.paths)

    def titles(self, embeddings: Tensor) -> Tensor:
        """Return the vectors `(B, m)` of the titles that embeddings `(B, D)` predict."""
        if self.network.title is None:
            return embeddings.new_zeros(embeddings.shape[0], self.title_dimensions)  # `len` would fix B in the graph
        return F.normalize(self.network.title(embeddings))

    def probabilities(self, embeddings: Tensor) -> list[Tensor]:
        """Return the probabilities of root categories and, if the network predicts them, of leaf categories.

        The logits of leaf categories are divided by the temperature.
        """
        probabilities = [self.network.head(embeddings).softmax(dim=1)]
        if self.network.leaves is not None:
            probabilities.append((self.network.leaves(embeddings) / self.leaf_temperature).softmax(dim=1))
        return probabilities


def _split_views(values: Tensor) -> Tensor:
    """Cut a batch of plain and mirrored images, `(2B, …)`, into `(2, B, …)`."""
    return values.unflatten(0, (2, -1))  # `chunk` would fix B in the exported graph


def save(path: Path, model: ImageModel, provenance: Provenance, *, checkpoint_sha256: str) -> None:
    """Write the model and the provenance of the checkpoint that its network comes from."""
    network = model.network
    projections = model.projections
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
        "detail_power": projections.detail.power,
        "detail_weight": projections.detail_weight,
        "category_weight": projections.category_weight,
        "leaf_temperature": model.leaf_temperature,
        "identity_dimensions": len(projections.identity.matrix) + len(projections.detail.matrix),
        "kind_dimensions": len(projections.kind.matrix) + len(provenance["categories"]) + len(provenance["leaves"]),
        "title_dimensions": model.title_dimensions,
        "checkpoint_sha256": checkpoint_sha256,
        "state_dict": {name: value.detach().clone().contiguous() for name, value in model.state_dict().items()},
    }
    checkpoints.save(path, content)


def load(path: Path) -> tuple[ImageModel, ImageModelFile]:
    """Read the model, in evaluation mode, and the whole content of its file.

    Raises MarketplaceError if the file is missing or damaged.
    """
    content: ImageModelFile = checkpoints.load(path)
    state = content["state_dict"]
    network = Network(
        content["backbone"],
        n_categories=len(content["categories"]),
        classifier=content["classifier"],
        n_leaves=len(content["leaves"]),
        title_dimensions=len(state.get("network.title.weight", ())),
    )
    projections = Projections(
        identity=_read_projection(state, "identity", content["power"]),
        detail=_read_projection(state, "detail", content["detail_power"]),
        kind=_read_projection(state, "kind", content["power"]),
        detail_weight=content["detail_weight"],
        category_weight=content["category_weight"],
    )
    model = ImageModel(
        network,
        projections,
        state["paths"],
        content["title_dimensions"],
        mirrored=content["mirrored"],
        leaf_temperature=content["leaf_temperature"],
    )
    model.load_state_dict(state)
    return model.eval(), content


def _read_projection(state: StateDict, name: str, power: float) -> Projection:
    return Projection(power, mean=state[f"projections.{name}.mean"], matrix=state[f"projections.{name}.matrix"])
