"""How close training is to the machine's limit: GFLOP/s of the frozen layers and of a training step.

    python benchmarks/limit.py [--backbone efficientnet_lite0] [--size 288] [--runs 10] [--compile] [--json OUT]

The limit is the best float32 matrix product of several shapes, by PyTorch and by OpenVINO. A multiply-add counts as
two operations. The step is forward and backward through the last stage and the classifiers, the losses, and the
optimiser, at the default batch size. With --compile, the last stage is also measured as torch.compile makes it, which
needs a C++ compiler.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import openvino
import torch
from openvino import opset13 as ops
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from workspace import ROOT, parser, report, table

from marketplace.inference.memory import keep_freed_memory
from marketplace.inference.trunk import TrunkRunner
from marketplace.models.backbones import BACKBONES
from marketplace.models.network import Network, pretrained_network
from marketplace.settings import load_settings
from marketplace.training.losses import Predictions, TrainingLoss
from marketplace.training.settings import TrainSettings

SHAPES = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 1024, 4096), (8192, 512, 512))
N_CATEGORIES, N_LEAVES = 13, 361
TRUNK_BATCH = 8


def main() -> None:
    """Parse the command line, run, print."""
    keep_freed_memory()  # as training does
    settings = load_settings(ROOT / "params.yaml")
    command = parser(__doc__, params=False)
    command.add_argument("--backbone", choices=BACKBONES, default=settings.model.backbone)
    command.add_argument("--size", type=int, default=settings.resize_images.full, help="pixels a side (%(default)s)")
    command.add_argument("--runs", type=int, default=10, help="best of so many (default: 10)")
    command.add_argument("--compile", action="store_true", help="also a step with torch.compile")
    options = command.parse_args()
    peaks = {f"PyTorch, {shape}": product(torch_product(*shape), shape, options.runs) for shape in SHAPES}
    peaks |= {f"OpenVINO, {shape}": product(openvino_product(*shape), shape, options.runs) for shape in SHAPES}
    best = max(peaks.values())
    network = pretrained_network(options.backbone, "none").eval()
    trunk = trunk_speed(network, options.size, options.runs)
    step, seconds = step_speed(network, options.size, settings.train, options.runs)
    rows = [
        ["the best matrix product", f"{best / 1e9:.0f}", "1.00"],
        ["frozen layers (OpenVINO)", f"{trunk / 1e9:.0f}", f"{trunk / best:.2f}"],
        [f"a training step ({1000 * seconds:.0f} ms)", f"{step / 1e9:.0f}", f"{step / best:.2f}"],
    ]
    results: dict[str, Any] = {"peaks": peaks, "trunk": trunk, "step": step, "step_seconds": seconds}
    if options.compile:
        started = time.perf_counter()
        step, seconds = step_speed(network, options.size, settings.train, options.runs, torch.compile)
        results |= {"compiled_step": step, "compiled_step_seconds": seconds}
        results["compiling_seconds"] = time.perf_counter() - started - (options.runs + 1) * seconds
        name = f"with torch.compile ({1000 * seconds:.0f} ms, after {results['compiling_seconds']:.0f} s)"
        rows.append([name, f"{step / 1e9:.0f}", f"{step / best:.2f}"])
    report(results, table([f"{options.backbone}, {options.size} px", "GFLOP/s", "share"], rows), options.json)


def best_of(work: Callable[[], object], runs: int) -> float:
    """The fewest seconds of several runs, after one that does not count."""
    seconds = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


def product(work: Callable[[], object], shape: tuple[int, int, int], runs: int) -> float:
    """Operations per second of a matrix product."""
    rows, inner, columns = shape
    return 2 * rows * inner * columns / best_of(work, runs)


def torch_product(rows: int, inner: int, columns: int) -> Callable[[], object]:
    """PyTorch's product of two matrices."""
    left, right = torch.randn(rows, inner), torch.randn(inner, columns)
    return lambda: left @ right


def openvino_product(rows: int, inner: int, columns: int) -> Callable[[], object]:
    """OpenVINO's product of a matrix with a constant one, as a network's weights are."""
    left = ops.parameter([rows, inner], np.float32)
    right = ops.constant(np.random.default_rng(0).standard_normal((inner, columns), dtype=np.float32))
    model = openvino.Model([ops.matmul(left, right, False, False)], [left])
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    values = np.random.default_rng(1).standard_normal((rows, inner), dtype=np.float32)
    return lambda: request.infer([values], share_inputs=True, share_outputs=True)


def trunk_speed(network: Network, size: int, runs: int) -> float:
    """Operations per second of the frozen layers."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.trunk(torch.zeros(1, 3, size, size))
    run = TrunkRunner(network, size)
    images = np.random.default_rng(0).integers(0, 256, (TRUNK_BATCH, size, size, 3), dtype=np.uint8)
    return TRUNK_BATCH * int(counter.get_total_flops()) / best_of(lambda: run(images), runs)


def step_speed(
    network: Network,
    size: int,
    settings: TrainSettings,
    runs: int,
    prepared: Callable[[nn.Module], Any] = lambda tail: tail,
) -> tuple[float, float]:
    """Operations per second of a training step, and its seconds."""
    tuned = Network(network.backbone, N_CATEGORIES, settings.classifier, N_LEAVES).train()
    batch = settings.batch_size
    with torch.inference_mode():
        features = tuned.trunk(torch.zeros(1, 3, size, size))
    inputs = torch.randn(batch, *features.shape[1:]).to(memory_format=torch.channels_last)
    loss = TrainingLoss(settings.contrastive_weight, settings.temperature, settings.leaf_weight)
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, N_CATEGORIES, batch))
    leaves = torch.from_numpy(rng.integers(0, N_LEAVES, batch))
    products = torch.from_numpy(np.arange(batch) // 2)
    tail = prepared(tuned.tail)
    optimiser = torch.optim.Adam([one for one in tuned.parameters() if one.requires_grad], lr=1e-5, fused=True)

    def step() -> None:
        optimiser.zero_grad()
        embeddings = tail(inputs)
        leaf_logits = tuned.leaves(embeddings) if tuned.leaves else None
        predicted = Predictions(embeddings, tuned.head(embeddings), leaf_logits)
        loss(predicted, labels, leaves, products).backward()
        optimiser.step()

    # The backward pass computes two products for each of the forward pass; PyTorch's own count of it is too high for
    # depthwise convolutions.
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        tuned.tail(inputs)
    seconds = best_of(step, runs)
    return 3 * int(counter.get_total_flops()) / seconds, seconds


if __name__ == "__main__":
    main()
