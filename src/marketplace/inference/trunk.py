"""The frozen trunk at the machine's speed: OpenVINO on a CPU, PyTorch in bfloat16 on a GPU."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from marketplace.common.files import sha256_of
from marketplace.compute.gpu import has_gpu
from marketplace.compute.processor import processor
from marketplace.compute.recipe import recipe
from marketplace.inference import compiled
from marketplace.inference.compiled import compile_model

Runner = Callable[[np.ndarray], np.ndarray]
CODE = (__file__, compiled.__file__)  # that turns images into features


@dataclass(frozen=True)
class Trunk:
    """A function from images `(B, size, size, 3) uint8` to the trunk's features `(B, h, w, C) float16`.

    The features of an image do not depend on the other images of its batch. The trunk is compiled at the first call:
    usually all features are stored. A trunk can be sent to another process, which compiles it again.
    """

    network: Path  # ONNX, see training/exports.py
    checkpoint: Path  # with the same weights, for a GPU

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Images to features."""
        return self._run(images)

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """Everything about the trunk and this machine that determines the features of an image."""
        packages = ("timm", "torch", "torchvision") if has_gpu() else ("openvino",)
        return recipe(CODE, packages, trunk=self._sha256, arithmetic="cuda" if has_gpu() else processor())

    @cached_property
    def _sha256(self) -> str:
        return sha256_of(self.network)

    @cached_property
    def _run(self) -> Runner:
        return _run_on_gpu(self.checkpoint) if has_gpu() else _run_on_cpu(self.network, self._sha256)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_run"}


def mirror(images: np.ndarray) -> np.ndarray:
    """Swap left and right of images `(B, S, S, 3) uint8`."""
    pixels = np.ascontiguousarray(images).view("V3")  # a pixel as one value: half the time
    return np.ascontiguousarray(pixels[:, :, ::-1]).view(np.uint8)


def _run_on_cpu(network: Path, sha256: str) -> Runner:
    """Run the trunk with OpenVINO: 3 to 4 times as fast as PyTorch for Lite0, 1.3 times for ResNet-50.

    The arithmetic is float32 even on a machine with bfloat16, which would lose half the bits of a feature.
    """
    model = compile_model(network, sha256)

    def run(images: np.ndarray) -> np.ndarray:
        return model(np.ascontiguousarray(images))[0]

    return run


def _run_on_gpu(checkpoint: Path) -> Runner:
    import torch

    from marketplace.models import checkpoints

    network = checkpoints.network_of(checkpoints.load(checkpoint)).cuda()

    @torch.inference_mode()
    def run(images: np.ndarray) -> np.ndarray:
        with torch.autocast("cuda", torch.bfloat16):
            features = network.trunk(network.pixels(images))
        return features.half().permute(0, 2, 3, 1).cpu().numpy()

    return run
