"""Networks written as ONNX: the same network always gives the same bytes, which hold no paths of this machine."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import Tensor, nn

BATCH = "N"  # the name of the axis of a batch


def write_onnx(
    path: Path,
    network: nn.Module,
    example: Tensor,
    *,
    input_name: str,
    output_names: Sequence[str],
    dynamic_axes: Mapping[int, str],
) -> None:
    """Write a network of one input, in evaluation mode.

    `example` is an input that the network is traced with, and `dynamic_axes` names its axes that may have another
    length than there; in the example they have 2 or more.
    """
    axes = {axis: torch.export.Dim(name) for axis, name in dynamic_axes.items()}
    program = _trace(network, example, input_name, output_names, dynamic_shapes=(axes,))
    program.save(path)


def write_batched_onnx(
    path: Path,
    network: nn.Module,
    example: Tensor,
    *,
    input_name: str,
    output_names: Sequence[str],
) -> None:
    """Write a network of one input, in evaluation mode, whose layers treat each image of a batch alone.

    Convolutions and activations do. The first axis of its input and outputs is the batch, of any length. As a symbol in
    PyTorch's graph, that length would double the time that this takes, so the network is traced with the length of the
    `example`.
    """
    program = _trace(network, example, input_name, output_names)
    graph = program.model.graph
    ends = [*graph.inputs, *graph.outputs]
    shapes = [onnx_ir.Shape([BATCH, *value.shape[1:]]) for value in ends]
    for node in graph:
        for value in node.outputs:
            value.shape = None  # it is of a batch as long as the example
    for value, shape in zip(ends, shapes, strict=True):
        value.shape = shape
    program.save(path)


def _trace(
    network: nn.Module,
    example: Tensor,
    input_name: str,
    output_names: Sequence[str],
    dynamic_shapes: tuple[Any, ...] | None = None,
) -> Any:
    """Return PyTorch's ONNX program of a network, without the lines of code that each node came from."""
    with torch.no_grad():
        program = torch.onnx.export(
            network,
            (example,),
            input_names=[input_name],
            output_names=output_names,
            dynamic_shapes=dynamic_shapes,
            verbose=False,
        )
    assert program is not None  # it is None only for exporters that write the file themselves
    ClearMetadataAndDocStringPass()(program.model)
    return program
