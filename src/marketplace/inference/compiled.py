"""Networks compiled by OpenVINO and kept in the user's cache: reading one takes less than half of compiling it."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from marketplace.common.files import SEAL_BYTES, is_sealed, remove_unused, replacing, seal, user_cache
from marketplace.compute.processor import processor
from marketplace.compute.recipe import recipe, recipe_id

if TYPE_CHECKING:
    from openvino import CompiledModel

log = logging.getLogger(__name__)

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
    with suppress(OSError, RuntimeError):
        if is_sealed(blob):
            os.utime(blob)
            content = np.memmap(blob, np.uint8, "r")[:-SEAL_BYTES]
            return core.import_model(openvino.Tensor(content), "CPU", OPTIONS)
    compiled = core.compile_model(path, "CPU", OPTIONS)
    remove_unused(blob.parent)
    try:
        with replacing(blob, shared=True) as part:
            part.write_bytes(compiled.export_model().getvalue())
            seal(part)
    except OSError as error:
        log.debug("%s cannot be kept: %s", blob, error.strerror)
    return compiled
