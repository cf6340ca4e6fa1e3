"""An exported sentence model made into one network from token ids to the vectors of texts.

Exports also take a mask of the padding, and most give a vector for each token. The mask and the pooling become a
part of the network, so that the pipeline uses every sentence model in one way.
"""

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Pooling = Literal["mean", "first"]  # of the vectors of a text's tokens

NEEDED_INPUTS = {"input_ids", "attention_mask"}
INPUTS = NEEDED_INPUTS | {"token_type_ids"}
POOLED_OUTPUT = "sentence_embedding"  # (N, D)
TOKEN_OUTPUTS = ("last_hidden_state", "token_embeddings")  # (N, L, D)
MIN_OPSET = 9
# Their scale comes from all texts of a batch, so that the vector of one depends on the others.
SCALED_BY_BATCH = {"DynamicQuantizeLinear", "DynamicQuantizeMatMul"}

# In ONNX's text form. What is added is named with an underscore, so that no name is one of the network's own.
FLOAT = 1  # ONNX's number of the type
MASK = """
    _is_padding = Equal (ids, _padding)
    _is_token = Not (_is_padding)
    _zeros = Sub (ids, ids)
"""
INPUT_FROM = {"input_ids": "ids", "attention_mask": "_is_token", "token_type_ids": "_zeros"}  # one text, no second
POOL = {
    "mean": f"""
        _weights = Cast <to = {FLOAT}> (_is_token)
        _weight_rows = Reshape (_weights, _as_rows)
        _sum_rows = MatMul (_weight_rows, _states)
        _pooled = Reshape (_sum_rows, _without_rows)
    """,
    "first": "_pooled = Gather <axis = 1> (_states, _first)",
    None: "_pooled = Identity (_states)",
}
NORMALIZE = "vectors = LpNormalization <axis = -1, p = 2> (_pooled)"
CONSTANTS = {
    "_as_rows": np.array([0, 1, -1]),  # (N, L) to (N, 1, L)
    "_without_rows": np.array([0, -1]),  # (N, 1, D) to (N, D)
    "_first": np.array(0),
}


def add_pooling(model: "ModelProto", pooling: Pooling, padding: int) -> None:
    """Change a network to take token ids alone, filled up with `padding`, and to give vectors of length 1.

    `pooling` says how, unless the network pools itself. Raises ValueError, with the reason, if it is no sentence model,
    or if the vector of a text depends on the other texts of its batch.
    """
    from onnx import TensorProto, helper, numpy_helper

    _check_operations(model)
    types = _input_types(model)
    output = _choose_output(model)
    graph = model.graph
    inputs = "\n".join(f"{name} = Cast <to = {types[name]}> ({INPUT_FROM[name]})" for name in types)
    states = f"_states = Cast <to = {FLOAT}> ({output})"
    pool = POOL[None if output == POOLED_OUTPUT else pooling]
    nodes = [*_parse(f"{MASK}\n{inputs}"), *graph.node, *_parse(f"{states}\n{pool}\n{NORMALIZE}")]
    used = {name for node in nodes for name in node.input}
    constants = {name: value for name, value in CONSTANTS.items() if name in used} | {"_padding": np.array(padding)}
    graph.ClearField("node")
    graph.ClearField("input")
    graph.ClearField("output")
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    graph.input.append(helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", "L"]))
    graph.output.append(helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["N", "D"]))


def _parse(lines: str) -> list["NodeProto"]:
    from onnx import parser

    return [parser.parse_node(line) for line in lines.splitlines() if line.strip()]


def _check_operations(model: "ModelProto") -> None:
    (opset,) = (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset < MIN_OPSET:
        raise ValueError(f"its ONNX opset is {opset}: export it with {MIN_OPSET} or a later one")
    by_batch = {node.op_type for node in model.graph.node} & SCALED_BY_BATCH
    if by_batch:
        raise ValueError(
            f"its {by_batch.pop()} makes the vector of a text depend on the others of a batch: export it without "
            "dynamic quantization (weights alone may be quantized)"
        )


def _input_types(model: "ModelProto") -> dict[str, int]:
    """Return ONNX's number of the type of each input."""
    constants = {tensor.name for tensor in model.graph.initializer}  # old exports list them among the inputs
    inputs = [value for value in model.graph.input if value.name not in constants]
    types = {value.name: value.type.tensor_type.elem_type for value in inputs}
    if not NEEDED_INPUTS <= set(types) <= INPUTS:
        raise ValueError(
            f"it takes {', '.join(types)}, where a sentence model takes input_ids, attention_mask and perhaps "
            "token_type_ids"
        )
    return types


def _choose_output(model: "ModelProto") -> str:
    """Return the name of the output that is used: of whole texts, or else of tokens."""
    names = [value.name for value in model.graph.output]
    for name in (POOLED_OUTPUT, *TOKEN_OUTPUTS):
        if name in names:
            return name
    raise ValueError(
        f"it gives {', '.join(names)}, where a sentence model gives {POOLED_OUTPUT} or {' or '.join(TOKEN_OUTPUTS)}"
    )
