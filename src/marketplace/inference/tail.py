"""A network without its trunk, as ONNX: the layers that training changes. training/exports.py writes it."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marketplace.common.damage import damage_error, how_to_heal, parsing, reading
from marketplace.common.errors import MarketplaceError
from marketplace.common.files import sha256_of
from marketplace.inference.compiled import compile_model

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True)
class Tail:
    """The layers after the trunk: the last stage and, after training, the classifiers."""

    path: Path

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the file."""
        return sha256_of(self.path)

    @cached_property
    def model(self) -> "ModelProto":
        """The ONNX model. Raises MarketplaceError if its file is missing or damaged."""
        import onnx

        with parsing(self.path):
            model = onnx.load(self.path)
        if not model.graph.output:
            raise damage_error(self.path, "it holds no network")
        return model

    @cached_property
    def checkpoint(self) -> dict[str, Any]:
        """The checkpoint that the weights come from, without them; see checkpoints.Checkpoint."""
        return read_metadata(self.model)

    @cached_property
    def dimensions(self) -> int:
        """The values of an embedding."""
        (output,) = (output for output in self.model.graph.output if output.name == "embedding")
        return output.type.tensor_type.shape.dim[1].dim_value

    def classifiers(self) -> "ModelProto":
        """Return the part after the embedding, as a model of its own."""
        from onnx.utils import Extractor

        names = [output.name for output in self.model.graph.output if output.name not in ("maps", "embedding")]
        return Extractor(self.model).extract_model(["embedding"], names)

    def embed(self, features: np.ndarray) -> np.ndarray:
        """Features `(B, h, w, C) float16` to embeddings `(B, D) float32`."""
        return self._compiled(features)["embedding"]

    @cached_property
    def _compiled(self) -> Any:
        return compile_model(self.path, self.sha256)

    def check_chosen(self, metrics: Path) -> None:
        """Raise MarketplaceError if this is not of the epoch that was chosen according to a training run's metrics."""
        with reading(metrics):
            chosen = json.loads(metrics.read_text(encoding="utf-8"))["best"]
        content = {"epoch": self.checkpoint["epoch"], **self.checkpoint["figures"]}
        if content != chosen:
            raise MarketplaceError(
                f"{self.path} holds {content}, but {metrics} says that {chosen} was chosen: one of them is stale or "
                f"damaged. To make them again, {how_to_heal(self.path, metrics)}."
            )


def read_metadata(model: "ModelProto") -> dict[str, Any]:
    """Return the metadata of an ONNX model, whose values are JSON."""
    return {entry.key: json.loads(entry.value) for entry in model.metadata_props}
