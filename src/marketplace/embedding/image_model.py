"""The image model: a fine-tuned network and the projections of its outputs, from a square to its vectors."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from marketplace.common.files import replacing
from marketplace.embedding.graphs import Heads, build_heads, build_image_model, build_projections
from marketplace.embedding.heads_model import HeadsModel, run_formulas
from marketplace.embedding.projection import Projections
from marketplace.inference.outputs import Outputs
from marketplace.inference.tail import Tail
from marketplace.inference.trunk import Trunk


@dataclass(frozen=True)
class ImageModel:
    """A fine-tuned network in two parts, and the formulas after it."""

    trunk: Trunk
    tail: Tail
    heads: Heads
    mirrored: bool  # whether outputs are averaged with the mirror image's

    def heads_model(self) -> HeadsModel:
        """Return the formulas alone, for stored outputs of this network."""
        formulas = build_heads(self.heads, self.tail.dimensions, self.heads.projections.detail.mean.size)
        metadata = {"network": self.tail.sha256, "mirrored": self.mirrored}
        onnx.helper.set_model_props(formulas, {name: json.dumps(value) for name, value in metadata.items()})
        return HeadsModel(formulas)

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
