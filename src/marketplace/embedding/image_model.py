"""The image model: a fine-tuned network and the projections of its outputs, from a square to its vectors."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx

from marketplace.common.files import replacing
from marketplace.embedding.graphs import Heads, build_heads, build_image_model, build_projections
from marketplace.embedding.projection import Projections
from marketplace.inference.compiled import compile_content
from marketplace.inference.outputs import Outputs
from marketplace.inference.tail import Tail
from marketplace.inference.trunk import Trunk

if TYPE_CHECKING:
    from onnx import ModelProto

ROWS_AT_ONCE = 1024


class Vectors(NamedTuple):
    """The vectors of photos, and the probabilities of their categories."""

    identity: np.ndarray  # (N, d) float32, of length 1
    kind: np.ndarray  # (N, k) float32, of length 1
    title: np.ndarray  # (N, m) float32, the predicted title's vector, of length 1; zeros if the network predicts none
    path: np.ndarray  # (N, p) float32, the expected vector of the category path, see paths.py
    category: np.ndarray  # (N, n_categories) float32, probabilities of the root categories


@dataclass(frozen=True)
class ImageModel:
    """A fine-tuned network in two parts, and the formulas after it."""

    trunk: Trunk
    tail: Tail
    heads: Heads
    mirrored: bool  # whether outputs are averaged with the mirror image's

    def vectors(self, outputs: Outputs) -> Vectors:
        """Return the vectors of photos from the network's outputs for them."""
        return Vectors(**run_formulas(self._formulas, outputs))

    @cached_property
    def _formulas(self) -> "ModelProto":
        return build_heads(self.heads, self.tail.dimensions, self.heads.projections.detail.mean.size)

    def save(self, path: Path, **metadata: Any) -> None:
        """Write the whole model as ONNX: `images` (N, S, S, 3) uint8 to the outputs of onnx.Embedded, for any N.

        Callers only have to letterbox. The metadata of the tail's checkpoint and `metadata` are in the file, each value
        as JSON.
        """
        texts = {name: json.dumps(value) for name, value in (self.tail.checkpoint | metadata).items()}
        trunk = onnx.load(self.trunk.network)
        model = build_image_model(trunk, self.tail.model, self.heads, mirrored=self.mirrored, metadata=texts)
        with replacing(path) as part:
            onnx.save(model, part)


def project(projections: Projections, outputs: Outputs) -> tuple[np.ndarray, np.ndarray]:
    """Return identity vectors `(N, d)` and kind vectors `(N, k)`, without categories, of a network's outputs."""
    vectors = run_formulas(build_projections(projections), outputs)
    return vectors["identity"], vectors["kind"]


def run_formulas(formulas: "ModelProto", outputs: Outputs) -> dict[str, np.ndarray]:
    """Run a model of graphs.py on a network's outputs for N images; return its outputs by name.

    All blocks have ROWS_AT_ONCE rows: another size may round otherwise.
    """
    compiled = compile_content(formulas.SerializeToString())
    names = [output.name for output in formulas.graph.output]
    n_rows = len(outputs.embeddings)
    blocks = []
    for start in range(0, n_rows, ROWS_AT_ONCE):
        rows = np.arange(start, start + ROWS_AT_ONCE) % n_rows
        results = compiled({"embedding": outputs.embeddings[rows], "details": outputs.details[rows]})
        blocks.append({name: results[name].copy() for name in names})
    return {name: np.concatenate([block[name] for block in blocks])[:n_rows] for name in names}
