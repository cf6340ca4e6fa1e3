"""The parts of a network as ONNX, so that running a network needs no PyTorch.

    images --trunk.onnx--> features --tail.onnx--> maps and embedding, and the logits of the classifiers

A trunk belongs to one size of images: EfficientNet-Lite pads by the size of its input.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import onnx
import onnx.compose
import torch
from torch import Tensor, nn

from marketplace.common.files import replacing
from marketplace.compute.recipe import digest, recipe, recipe_id
from marketplace.compute.user_cache import user_cache, write_once
from marketplace.models import backbones
from marketplace.models import network as network_module
from marketplace.models.checkpoints import Checkpoint, network_of
from marketplace.models.network import Network, normalise_pixels
from marketplace.training import onnx_export
from marketplace.training.onnx_export import BATCH, write_batched_onnx, write_onnx

CODE = (__file__, backbones.__file__, network_module.__file__, onnx_export.__file__)
PACKAGES = ("onnx-ir", "onnxscript", "timm", "torch", "torchvision")


class _Trunk(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.trunk = network.trunk
        self._backbone = network.backbone

    def forward(self, images: Tensor) -> Tensor:
        features = self.trunk(normalise_pixels(images, self._backbone))  # (B, C, h, w)
        return features.permute(0, 2, 3, 1).half()


class _Tail(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.network.last_maps(features.float().permute(0, 3, 1, 2))  # (B, D, H, W)
        return maps.permute(0, 2, 3, 1), self.network.pool(maps)


class _Classifiers(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        layers = {"category": network.head, "leaf": network.leaves, "title": network.title}
        self.layers = nn.ModuleDict({name: layer for name, layer in layers.items() if layer is not None})

    def forward(self, embedding: Tensor) -> tuple[Tensor, ...]:
        return tuple(layer(embedding) for layer in self.layers.values())


def export_trunk(path: Path, checkpoint: Checkpoint, size: int) -> None:
    """Write a checkpoint's trunk: `images` (N, size, size, 3) uint8 to `features` (N, h, w, C) float16.

    Scaling and normalising the pixels is part of it.
    """
    network = network_of(checkpoint)
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    trunk = _Trunk(network).eval()

    def write(target: Path) -> None:
        write_batched_onnx(target, trunk, example, input_name="images", output_names=["features"])

    _write_once(path, trunk, example, {}, write)


def export_tail(path: Path, checkpoint: Checkpoint, size: int) -> None:
    """Write a network without its trunk: `features` (N, h, w, C) float16 of images of `size` pixels a side to

    - `maps` (N, H, W, D) and `embedding` (N, D), their mean over positions,
    - `category` (N, n_categories), `leaf` (N, n_leaves) and `title` (N, m): logits, and the predicted title, for those
      of the layers that training has added.

    Everything about the checkpoint but its weights is in the file's metadata, each value as JSON.
    """
    network = network_of(checkpoint)
    with torch.no_grad():
        example = network.trunk(torch.zeros(2, 3, size, size)).permute(0, 2, 3, 1).half()
    has_classifiers = bool(checkpoint["categories"])
    metadata = {name: json.dumps(value) for name, value in checkpoint.items() if name != "state_dict"}

    def write(target: Path) -> None:
        write_batched_onnx(
            target, _Tail(network).eval(), example, input_name="features", output_names=["maps", "embedding"]
        )
        model = onnx.load(target)
        if has_classifiers:
            model = _add_classifiers(model, _Classifiers(network).eval())
        onnx.helper.set_model_props(model, metadata)
        onnx.save(model, target)

    _write_once(path, network, example, metadata, write)


def _add_classifiers(tail: onnx.ModelProto, classifiers: _Classifiers) -> onnx.ModelProto:
    """Return a tail that also has the outputs of its network's classifiers."""
    (shape,) = (output.type.tensor_type.shape for output in tail.graph.output if output.name == "embedding")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "classifiers.onnx"
        write_onnx(
            path,
            classifiers,
            torch.zeros(2, shape.dim[1].dim_value),
            input_name="embedding",
            output_names=list(classifiers.layers),
            dynamic_axes={0: BATCH},
        )
        head = onnx.load(path)
    return onnx.compose.merge_models(
        tail, head, [("embedding", "embedding")], outputs=["maps", "embedding", *classifiers.layers]
    )


def _write_once(
    path: Path, part: nn.Module, example: Tensor, metadata: dict[str, str], write: Callable[[Path], None]
) -> None:
    """Write a part of a network. Tracing takes seconds, so the file is kept in the user's cache."""
    made_with = recipe(
        CODE,
        PACKAGES,
        weights=[digest(value.numpy()) for value in part.state_dict().values()],
        layers=repr(part),
        example=list(example.shape),
        metadata=metadata,
    )
    kept = user_cache("exports") / f"{recipe_id(made_with)}.onnx"
    with replacing(path) as unfinished:
        write_once(unfinished, kept, write)
