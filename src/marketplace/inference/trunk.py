"""The frozen trunk at the machine's speed: OpenVINO on a CPU, PyTorch in bfloat16 on CUDA."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch

from marketplace.models.backbones import BACKBONES
from marketplace.models.network import Network

Runner = Callable[[np.ndarray], np.ndarray]


class TrunkRunner:
    """A function from images `(B, size, size, 3) uint8` to the trunk's features `(B, H, W, C) float16`.

    The features of an image do not depend on the other images of its batch. The trunk is compiled at the first call:
    that takes seconds, and usually all features are stored. A runner can be sent to another process, which compiles
    the trunk again.
    """

    def __init__(self, network: Network, size: int) -> None:
        self._network = network
        self._size = size

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Images to features."""
        return self._runner(images)

    @cached_property
    def _runner(self) -> Runner:
        on_cuda = next(self._network.parameters()).device.type == "cuda"
        return _cuda_runner(self._network) if on_cuda else _openvino_runner(self._network, self._size)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_runner"}


def mirror(images: np.ndarray) -> np.ndarray:
    """Swap left and right of images `(B, S, S, 3) uint8`; PyTorch takes a tenth of NumPy's time."""
    return torch.from_numpy(images).flip(2).numpy()


def _cuda_runner(network: Network) -> Runner:
    @torch.inference_mode()
    def run(images: np.ndarray) -> np.ndarray:
        with torch.autocast("cuda", torch.bfloat16):
            features = network.trunk(network.pixels(images))
        return features.half().permute(0, 2, 3, 1).cpu().numpy()

    return run


def _openvino_runner(network: Network, size: int) -> Runner:
    """Compile the trunk with OpenVINO: 3 to 4 times as fast as PyTorch for Lite0, 1.3 times for ResNet-50.

    BatchNorm is folded; scaling pixels and rounding to float16 are part of the graph. The arithmetic is float32 even on
    a machine with bfloat16, which would lose half the bits of a feature.
    """
    import openvino
    from openvino.preprocess import PrePostProcessor

    with torch.no_grad():
        program = torch.export.export(network.trunk, (torch.zeros(2, 3, size, size),))
    # OpenVINO makes the batch dynamic: as a symbol in PyTorch's graph, it would double the time that this takes.
    model = openvino.convert_model(program, input=[-1, 3, size, size])
    backbone = BACKBONES[network.backbone]
    layout = openvino.Layout
    graph = PrePostProcessor(model)
    graph.input().tensor().set_element_type(openvino.Type.u8).set_layout(layout("NHWC"))
    graph.input().model().set_layout(layout("NCHW"))
    pixels = graph.input().preprocess().convert_element_type(openvino.Type.f32)
    pixels.mean([255 * value for value in backbone.mean]).scale([255 * value for value in backbone.std])
    graph.output().model().set_layout(layout("NCHW"))
    graph.output().postprocess().convert_layout(layout("NHWC")).convert_element_type(openvino.Type.f16)
    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",  # one batch after another, each on all threads
    }
    compiled = openvino.compile_model(graph.build(), "CPU", options)

    def run(images: np.ndarray) -> np.ndarray:
        return compiled(np.ascontiguousarray(images))[0]

    return run
