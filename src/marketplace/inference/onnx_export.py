"""Networks written as ONNX: the same network always gives the same bytes, which hold no paths of this machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


def write_onnx(
    path: Path,
    network: "nn.Module",
    example: "Tensor",
    *,
    input_name: str,
    output_names: Sequence[str],
    dynamic_axes: dict[int, str],
) -> None:
    """Write a network of one input, in evaluation mode.

    `example` is an input that the network is traced with, and `dynamic_axes` names its axes that may have another
    length than there; in the example they have 2 or more.
    """
    import torch
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    axes = {axis: torch.export.Dim(name) for axis, name in dynamic_axes.items()}
    with torch.no_grad():
        program = torch.onnx.export(
            network,
            (example,),
            input_names=[input_name],
            output_names=output_names,
            dynamic_shapes=(axes,),
            verbose=False,
        )
    assert program is not None  # it is None only for exporters that write the file themselves
    ClearMetadataAndDocStringPass()(program.model)  # the lines of code that each node came from, with their paths
    program.save(path)
