"""The formulas of a photo's vectors as ONNX, for both ways in which they run: on stored outputs, and after the network.

Spox writes ONNX as Python expressions, and puts existing models into them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import spox.opset.ai.onnx.v18 as op
from onnx import ModelProto
from onnx.helper import set_model_props
from spox import Tensor, Var, argument, build, inline

from marketplace.embedding.projection import Projection, Projections

MIN_DIVISOR = 1e-12
BATCH = "N"


@dataclass(frozen=True)
class Heads:
    """The formulas after a network's embedding and details: from outputs to vectors.

    `paths` `(n, p)` are the vectors of the leaf categories, or of the root categories if the network predicts no
    leaves. `title_dimensions` is the length of a title's vector, even if the network predicts no titles. The logits of
    leaf categories are divided by `leaf_temperature`.
    """

    classifiers: ModelProto  # from the embedding to the logits `category` and `leaf`, and `title`
    projections: Projections
    paths: np.ndarray
    title_dimensions: int
    leaf_temperature: float

    def __call__(self, embeddings: Var, details: Var) -> dict[str, Var]:
        """Embeddings `(N, D)` and details `(N, C)` to identity, kind, title, path and category; see onnx.Embedded."""
        predicted = inline(self.classifiers)(embeddings)
        probabilities = [op.softmax(predicted["category"], axis=1)]
        if "leaf" in predicted:
            probabilities.append(op.softmax(op.div(predicted["leaf"], _number(self.leaf_temperature)), axis=1))
        identity, kind = join_vectors(self.projections, embeddings, details, probabilities)
        title = _normalise(predicted["title"]) if "title" in predicted else self._no_title(embeddings)
        return {
            "identity": identity,
            "kind": kind,
            "title": title,
            "path": op.matmul(probabilities[-1], _constant(self.paths)),
            "category": probabilities[0],
        }

    def _no_title(self, embeddings: Var) -> Var:
        zeros = np.zeros((self.projections.identity.mean.size, self.title_dimensions), np.float32)
        return op.matmul(embeddings, _constant(zeros))


def join_vectors(
    projections: Projections, embeddings: Var, details: Var, probabilities: Sequence[Var] = ()
) -> tuple[Var, Var]:
    """Return identity vectors `(N, d)` and kind vectors `(N, k)`, of length 1; see Projections.

    `probabilities` are `(N, n_categories)` and, if the network predicts leaf categories, `(N, n_leaves)`; if they are
    empty, the kind vector has no category part.
    """
    w = projections.detail_weight
    identity = [
        _scale(_project(projections.identity, embeddings), (1 - w) ** 0.5),
        _scale(_project(projections.detail, details), w**0.5),
    ]
    v = projections.category_weight if probabilities else 0
    kind = [_scale(_project(projections.kind, embeddings), (1 - v) ** 0.5)]
    kind += [_scale(op.sqrt(p), (v / len(probabilities)) ** 0.5) for p in probabilities]
    return op.concat(identity, axis=1), op.concat(kind, axis=1)


def contribute(projections: Projections, maps: Var) -> Var:
    """Return the contribution of each position of feature maps `(N, H, W, D)` to their kind vector: `(N, H, W, l)`.

    The mean over positions is the first l values of the vector, which come from the embedding. Each position has its
    share of the power, since |m|^power is the mean over positions of sign(m) f |m|^(power - 1), where m is the mean of
    the maps f, so that the sum is exact.
    """
    projection = projections.kind
    matrix = _constant(projection.matrix.T)
    mean = _constant(projection.mean)
    means = _mean(maps, axes=[1, 2])  # (N, 1, 1, D)
    per_unit = op.pow(op.max([op.abs(means), _number(MIN_DIVISOR)]), _number(projection.power - 1))
    shares = op.sub(op.mul(maps, per_unit), mean)  # (N, H, W, D)
    whole = op.matmul(op.sub(_raise_to_power(means, projection.power), mean), matrix)  # (N, 1, 1, l)
    factor = (1 - projections.category_weight) ** 0.5
    return _scale(op.div(op.matmul(shares, matrix), _length(whole)), factor)


def build_heads(heads: Heads, n_embedding: int, n_details: int) -> ModelProto:
    """Return the heads as a model of `embedding` (N, n_embedding) and `details` (N, n_details)."""
    inputs = _outputs_of_network(n_embedding, n_details)
    return build(inputs, heads(inputs["embedding"], inputs["details"]))


def build_projections(projections: Projections) -> ModelProto:
    """Return the projections as a model of `embedding` and `details` to `identity` and `kind`, without categories."""
    inputs = _outputs_of_network(projections.identity.mean.size, projections.detail.mean.size)
    identity, kind = join_vectors(projections, inputs["embedding"], inputs["details"])
    return build(inputs, {"identity": identity, "kind": kind})


def build_image_model(
    trunk: ModelProto, tail: ModelProto, heads: Heads, *, mirrored: bool, metadata: Mapping[str, str]
) -> ModelProto:
    """Return the whole model: `images` (N, S, S, 3) uint8 to the outputs of `heads`, and to `kind_map` (N, H, W, l).

    `mirrored` averages the network's outputs with the mirror image's.
    """
    size = trunk.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    images = argument(Tensor(np.uint8, (BATCH, size, size, 3)))
    # As one batch (2N, S, S, 3): the model has every layer once.
    views = op.concat([images, _mirror(images)], axis=0) if mirrored else images
    (features,) = inline(trunk)(views).values()  # (N or 2N, h, w, C)
    outputs = inline(tail)(features)
    maps = outputs["maps"]  # (N or 2N, H, W, D)
    embeddings = outputs["embedding"]  # (N or 2N, D)
    details = _mean(op.cast(features, to=np.float32), axes=[1, 2], keepdims=False)  # (N or 2N, C)
    if mirrored:
        embeddings = _mean_of_views(embeddings)
        details = _mean_of_views(details)
        plain, reversed_maps = op.split(maps, num_outputs=2, axis=0)
        maps = op.div(op.add(plain, _mirror(reversed_maps)), _number(2))
    results = heads(embeddings, details) | {"kind_map": contribute(heads.projections, maps)}
    model = build({"images": images}, results)
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[0].dim_param = BATCH  # cutting a batch in two has hidden it
    set_model_props(model, dict(metadata))
    return model


def _outputs_of_network(n_embedding: int, n_details: int) -> dict[str, Var]:
    sizes = {"embedding": n_embedding, "details": n_details}
    return {name: argument(Tensor(np.float32, (BATCH, size))) for name, size in sizes.items()}


def _project(projection: Projection, vectors: Var) -> Var:
    centred = op.sub(_raise_to_power(vectors, projection.power), _constant(projection.mean))
    return _normalise(op.matmul(centred, _constant(projection.matrix.T)))


def _raise_to_power(vectors: Var, power: float) -> Var:
    if power == 1:
        return vectors
    return op.mul(op.sign(vectors), op.pow(op.abs(vectors), _number(power)))


def _normalise(vectors: Var) -> Var:
    return op.div(vectors, _length(vectors))


def _length(vectors: Var) -> Var:
    """The length of vectors `(…, d)`, at least MIN_DIVISOR: `(…, 1)`."""
    axes = op.const(np.array([-1]))
    return op.max([op.reduce_l2(vectors, axes), _number(MIN_DIVISOR)])


def _mirror(values: Var) -> Var:
    """Swap left and right of images or maps `(N, H, W, C)`."""
    first, last, axis, step = (op.const(np.array([number])) for number in (-1, np.iinfo(np.int64).min, 2, -1))
    return op.slice(values, first, last, axis, step)


def _mean_of_views(values: Var) -> Var:
    """The mean of plain and mirrored images, `(2N, d)` to `(N, d)`."""
    plain, mirrored = op.split(values, num_outputs=2, axis=0)
    return op.div(op.add(plain, mirrored), _number(2))


def _mean(values: Var, axes: Sequence[int], *, keepdims: bool = True) -> Var:
    return op.reduce_mean(values, op.const(np.array(axes)), keepdims=keepdims)


def _scale(values: Var, factor: float) -> Var:
    return op.mul(values, _number(factor))


def _number(value: float) -> Var:
    return op.const(np.array(value, np.float32))


def _constant(values: np.ndarray) -> Var:
    return op.const(np.ascontiguousarray(values, np.float32))
