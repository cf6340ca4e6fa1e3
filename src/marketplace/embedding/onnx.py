"""The image model as ONNX: exported for any ONNX runtime, and run here by OpenVINO."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from marketplace.common.files import replacing
from marketplace.inference.compiled import compile_model
from marketplace.inference.onnx_export import write_onnx

if TYPE_CHECKING:
    from openvino import CompiledModel

    from marketplace.embedding.image_model import ImageModel

OUTPUTS = ("identity", "kind", "title", "path", "category", "kind_map")  # see image_model.ImageVectors


def export_onnx(path: Path, model: "ImageModel", size: int) -> None:
    """Write the model as ONNX: `images` (N, size, size, 3) uint8 to `identity` (N, d), `kind` (N, k), `title` (N, m),
    `path` (N, p), `category` (N, n_categories) and `kind_map` (N, H, W, l), for any N.

    Scaling and normalising the pixels is part of the graph, so that callers only have to letterbox.
    """
    import torch  # not needed to run the model

    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    with replacing(path) as part:
        write_onnx(part, model, example, input_name="images", output_names=OUTPUTS, dynamic_axes={0: "N"})


class Embedded(NamedTuple):
    """The outputs of an exported model for N squares; see image_model.ImageVectors."""

    identity: np.ndarray
    kind: np.ndarray
    title: np.ndarray
    path: np.ndarray
    category: np.ndarray
    kind_map: np.ndarray


@dataclass(frozen=True)
class LoadedModel:
    """An exported model that OpenVINO runs, which takes a quarter of PyTorch's time."""

    compiled: "CompiledModel"

    @property
    def size(self) -> int:
        """The pixels of a side of the squares that it takes."""
        return int(self.compiled.input(0).partial_shape[1].get_length())

    def __call__(self, squares: np.ndarray) -> Embedded:
        """Return the outputs for squares `(N, size, size, 3) uint8`."""
        outputs = self.compiled(squares)
        return Embedded(**{name: outputs[name] for name in OUTPUTS})


def load_onnx(path: Path, sha256: str | None = None) -> LoadedModel:
    """Read an exported model. With the file's `sha256`, it is compiled once for all processes."""
    return LoadedModel(compile_model(path, sha256))
