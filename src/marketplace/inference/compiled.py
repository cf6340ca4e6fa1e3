"""Networks compiled by OpenVINO and kept in the user's cache: reading one takes less than half of compiling it."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from marketplace.compute.processor import processor
from marketplace.compute.recipe import recipe, recipe_id
from marketplace.compute.user_cache import keep, read_kept, remove_unused, user_cache

if TYPE_CHECKING:
    from openvino import CompiledModel

OPTIONS = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}


def compile_model(path: Path, sha256: str | None = None) -> "CompiledModel":
    """Compile an ONNX file for this processor: in float32, with all cores for one request.

    With the file's `sha256`, the compiled network is kept for the next process; if it is damaged there, or OpenVINO
    refuses it, the file is compiled again. Raises RuntimeError if the file is not a network.
    """
    import openvino

    core = openvino.Core()
    if sha256 is None:
        return core.compile_model(path, "CPU", OPTIONS)
    made_with = recipe((), ("openvino",), sha256=sha256, name=path.name, processor=processor(), options=OPTIONS)
    blob = user_cache("compiled") / f"{recipe_id(made_with)}.blob"
    content = read_kept(blob)
    if content is not None:
        with suppress(RuntimeError):
            return core.import_model(openvino.Tensor(np.frombuffer(content, np.uint8)), "CPU", OPTIONS)
    compiled = core.compile_model(path, "CPU", OPTIONS)
    remove_unused(blob.parent)
    keep(blob, lambda file: file.write(compiled.export_model().getvalue()))
    return compiled


def compile_content(content: bytes) -> "CompiledModel":
    """Compile the content of an ONNX file likewise."""
    import openvino

    core = openvino.Core()
    return core.compile_model(core.read_model(content), "CPU", OPTIONS)
