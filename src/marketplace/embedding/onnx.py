"""The image model as ONNX: exported for any ONNX runtime, and run here by OpenVINO."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from marketplace.common.files import replacing
from marketplace.inference.compiled import compile_model
from marketplace.inference.onnx_export import write_onnx

if TYPE_CHECKING:
    from marketplace.embedding.image_model import ImageModel

OUTPUTS = ("identity", "kind", "title", "path", "kind_map")  # see image_model.ImageVectors


def export_onnx(path: Path, model: "ImageModel", size: int) -> None:
    """Write the model as ONNX: `images` (N, size, size, 3) uint8 to `identity` (N, d), `kind` (N, k), `title` (N, m),
    `path` (N, p) and `kind_map` (N, H, W, l), for any N.

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
    kind_map: np.ndarray


def load_onnx(path: Path, sha256: str | None = None) -> Callable[[np.ndarray], Embedded]:
    """Read an exported model as a function of squares `(N, S, S, 3) uint8`.

    OpenVINO takes a quarter of PyTorch's time; with the file's `sha256`, it compiles the model once for all processes.
    """
    compiled = compile_model(path, sha256)

    def embed(squares: np.ndarray) -> Embedded:
        outputs = compiled(squares)
        return Embedded(**{name: outputs[name] for name in OUTPUTS})

    return embed
