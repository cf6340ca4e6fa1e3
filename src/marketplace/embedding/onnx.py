"""The image model as its users see it: one ONNX file for any runtime, which OpenVINO runs here."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from marketplace.inference.compiled import compile_model

if TYPE_CHECKING:
    from openvino import CompiledModel


class Embedded(NamedTuple):
    """The outputs of the model for N squares."""

    identity: np.ndarray  # (N, d) float32, of length 1
    kind: np.ndarray  # (N, k) float32, of length 1
    title: np.ndarray  # (N, m) float32, the predicted title's vector, of length 1; zeros if the network predicts none
    path: np.ndarray  # (N, p) float32, the expected vector of the category path, see paths.py
    category: np.ndarray  # (N, n_categories) float32, probabilities of the root categories in the order of their names
    kind_map: np.ndarray  # (N, H, W, l) float32: its mean over positions is the first l values of the kind vector


OUTPUTS = Embedded._fields


@dataclass(frozen=True)
class LoadedModel:
    """The model, run by OpenVINO in a quarter of PyTorch's time."""

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
    """Read the model. With the file's `sha256`, it is compiled once for all processes."""
    return LoadedModel(compile_model(path, sha256))
