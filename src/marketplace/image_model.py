"""The image model: a photo to its vector, in one file that explains itself, for PyTorch and as ONNX."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marketplace import checkpoints
from marketplace.checkpoints import Facts
from marketplace.files import replacing
from marketplace.images import BACKGROUND
from marketplace.networks import BACKBONES, Network, StateDict, normalised_pixels
from marketplace.projection import Projection


class ImageModelFile(Facts):
    """What `models/image_model.pt` holds: all that it takes to embed a photo, and where the weights came from."""

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
    """One trunk, the tails of one or two networks, and the projection of what they give to a vector."""

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
    """The outputs `(B, D)` of one network as they are; of several, each scaled to length 1, side by side."""
    return outputs[0] if len(outputs) == 1 else torch.cat([F.normalize(part) for part in outputs], dim=1)


def save(path: Path, model: ImageModel, facts: Facts, *, vectors: str, checkpoint_sha256: str) -> None:
    """Write the model and the facts of the checkpoint that it was cut from."""
    backbone, projection = BACKBONES[model.backbone], model.projection
    state = {name: value.detach().clone().contiguous() for name, value in model.state_dict().items()}
    content = ImageModelFile(
        weights=facts["weights"], size=facts["size"], categories=facts["categories"], epoch=facts["epoch"],
        figures=facts["figures"], backbone=model.backbone, vectors=vectors, background=BACKGROUND, mean=backbone.mean,
        std=backbone.std, mirrored=model.mirrored, power=projection.power, dimensions=len(projection.matrix),
        checkpoint_sha256=checkpoint_sha256, state_dict=state,
    )  # fmt: skip
    checkpoints.save(path, content)


def load(path: Path) -> tuple[ImageModel, ImageModelFile]:
    """The model, in evaluation mode, and the whole content of its file.

    Raises MarketplaceError when the file is missing or damaged.
    """
    content: ImageModelFile = checkpoints.load(path)
    state = content["state_dict"]
    n_tails = len({name.split(".")[1] for name in state if name.startswith("tails.")})
    networks = [Network(content["backbone"], n_categories=1) for _ in range(n_tails)]
    mean, matrix = (torch.empty_like(state[f"projection.{name}"]) for name in ("mean", "matrix"))
    model = ImageModel(networks, Projection(content["power"], mean, matrix), mirrored=content["mirrored"])
    model.load_state_dict(state)
    return model.eval(), content


def export_onnx(path: Path, model: ImageModel, size: int) -> None:
    """Write the model as ONNX: `images` (N, size, size, 3) uint8 to `vectors` (N, d) float32, for any N.

    Scaling and normalising the pixels is part of the graph, so that only the letterbox is left to others.
    """
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    any_number = {"images": {0: "N"}, "vectors": {0: "N"}}
    with replacing(path) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's newer exporter is five times slower, and writes this folder's paths
        torch.onnx.export(
            model, (example,), str(part), input_names=["images"], output_names=["vectors"], dynamic_axes=any_number,
            dynamo=False,
        )  # fmt: skip


def onnx_model(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """The exported model as a function of squares `(N, S, S, 3) uint8`, in OpenVINO: a quarter of PyTorch's time."""
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.compile_model(str(path), "CPU", options)

    def embed(squares: np.ndarray) -> np.ndarray:
        vectors: np.ndarray = compiled(squares)[0]
        return vectors

    return embed
