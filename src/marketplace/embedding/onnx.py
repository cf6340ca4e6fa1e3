"""The image model as ONNX: exported for other programs, and run here by OpenVINO."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from marketplace.common.files import replacing
from marketplace.inference.compiled import compile_model

if TYPE_CHECKING:
    from marketplace.embedding.image_model import ImageModel

OUTPUTS = ["identity", "kind", "kind_map"]  # see image_model.ImageVectors


def export_onnx(path: Path, model: "ImageModel", size: int) -> None:
    """Write the model as ONNX: `images` (N, size, size, 3) uint8 to `identity` (N, d), `kind` (N, k) and `kind_map`
    (N, H, W, l), for any N.

    Scaling and normalising the pixels is part of the graph, so that callers only have to letterbox.
    """
    import torch  # which running the model does without

    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    any_number = {name: {0: "N"} for name in ("images", *OUTPUTS)}
    with replacing(path) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the newer exporter takes five times as long and writes local paths
        torch.onnx.export(
            model,
            (example,),
            str(part),
            input_names=["images"],
            output_names=OUTPUTS,
            dynamic_axes=any_number,
            dynamo=False,
        )


def onnx_model(
    path: Path, sha256: str | None = None
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The exported model as a function from squares `(N, S, S, 3) uint8` to the arrays of `image_model.ImageVectors`.

    OpenVINO takes a quarter of PyTorch's time; with the file's `sha256`, it compiles the model once for all processes.
    """
    compiled = compile_model(path, sha256)

    def embed(squares: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = compiled(squares)
        return found[0], found[1], found[2]

    return embed
