"""The formulas after a network in a separate file: from stored outputs to vectors, without running the network."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from marketplace.common.damage import parsing
from marketplace.common.errors import MarketplaceError
from marketplace.common.files import release_pages, replacing
from marketplace.compute.scratch import ScratchArray
from marketplace.inference.compiled import compile_content
from marketplace.inference.outputs import Outputs
from marketplace.inference.tail import Tail, read_metadata

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
class HeadsModel:
    """The formulas that were fitted to a network's outputs, as ONNX. `ImageModel.heads_model` makes it."""

    formulas: "ModelProto"

    @classmethod
    def load(cls, path: Path, tail: Tail) -> Self:
        """Read the file. Raises MarketplaceError if it is missing or damaged, or was fitted to another network."""
        import onnx

        with parsing(path):
            model = cls(onnx.load(path))
            network = model._metadata["network"]
        if network != tail.sha256:
            raise MarketplaceError(
                f"{path} was fitted to another network than {tail.path}. The stage `fit` has to run after training: "
                "run `dvc unfreeze fit`, then `dvc repro`."
            )
        return model

    def save(self, path: Path) -> None:
        """Write the file."""
        import onnx

        with replacing(path) as part:
            onnx.save(self.formulas, part)

    @property
    def mirrored(self) -> bool:
        """Whether the network's outputs are averaged with the mirror image's."""
        return bool(self._metadata["mirrored"])

    @cached_property
    def _metadata(self) -> dict[str, Any]:
        return read_metadata(self.formulas)

    def __call__(self, outputs: Outputs) -> Vectors:
        """Return the vectors of photos from the network's outputs for them."""
        return Vectors(**run_formulas(self.formulas, outputs))


def run_formulas(formulas: "ModelProto", outputs: Outputs) -> dict[str, np.ndarray]:
    """Run a model of graphs.py on a network's outputs for N images; return its outputs by name, mapped.

    All blocks have ROWS_AT_ONCE rows: another size may round otherwise.
    """
    compiled = compile_content(formulas.SerializeToString())
    n_rows = len(outputs.embeddings)
    arrays: dict[str, ScratchArray] = {}
    for start in range(0, n_rows, ROWS_AT_ONCE):
        rows = np.arange(start, start + ROWS_AT_ONCE) % n_rows
        results = compiled({"embedding": outputs.embeddings[rows], "details": outputs.details[rows]})
        own_rows = np.arange(start, min(n_rows, start + ROWS_AT_ONCE))
        for name in (output.name for output in formulas.graph.output):
            values = results[name][: len(own_rows)]
            if name not in arrays:
                arrays[name] = ScratchArray((n_rows, *values.shape[1:]), values.dtype)
            arrays[name].write(own_rows, values)
        for source in outputs:
            release_pages(source)
    return {name: array.map() for name, array in arrays.items()}
