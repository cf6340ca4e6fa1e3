"""How close training is to the machine's limit: GFLOP/s of the frozen layers and of training steps.

    python benchmarks/limit.py [--backbone efficientnet_lite0] [--size 288] [--batches 32 64 128] [--runs 20]
        [--compile] [--json OUT]

The limit is the best float32 matrix product of several shapes, by PyTorch and by OpenVINO. A multiply-add counts as
two operations. A step is the forward and backward pass through the last stage and the classifiers, the losses, and the
optimiser. On a processor that has bfloat16, a step of the first batch size is also measured with it. With --compile,
such a step is also measured with torch.compile, which fuses BatchNorm and activations and needs a C++ compiler.
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import openvino
import torch
from openvino import opset13 as ops
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from trunk import build_openvino
from workspace import ROOT, best_seconds, make_parser, report, table

from marketplace.compute.processor import has_bfloat16
from marketplace.inference.memory import keep_freed_memory
from marketplace.models.backbones import BACKBONES
from marketplace.models.network import Network, build_pretrained_network
from marketplace.settings import load_settings
from marketplace.training.losses import Predictions, Targets, TrainingLoss
from marketplace.training.settings import TrainSettings

Shape = tuple[int, int, int]  # rows, inner dimension and columns of a matrix product

SHAPES: list[Shape] = [(1024, 1024, 1024), (2048, 2048, 2048), (4096, 1024, 4096), (8192, 512, 512)]
N_CATEGORIES = 13
N_LEAVES = 361
TRUNK_BATCH = 8


@dataclass(frozen=True)
class Step:
    """A kind of training step, and how fast it is."""

    name: str
    batch: int  # photos
    seconds: float
    speed: float  # operations per second


def main() -> None:
    """Parse the command line, measure, print the results."""
    keep_freed_memory()  # as training does
    settings = load_settings(ROOT / "params.yaml")
    parser = make_parser(__doc__, params=False)
    parser.add_argument("--backbone", choices=BACKBONES, default=settings.model.backbone)
    parser.add_argument("--size", type=int, default=settings.resize_images.full, help="pixels a side (%(default)s)")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 64, 128], help="photos (default: 32 64 128)")
    parser.add_argument("--runs", type=int, default=20, help="of each (default: 20)")
    parser.add_argument("--compile", action="store_true", help="also a step with torch.compile")
    options = parser.parse_args()
    peaks = measure_products(options.runs)
    network = build_pretrained_network(options.backbone, "none").eval()
    trunk = measure_trunk(network, options.size, options.runs)
    kinds = list_kinds(network, settings.train, options)
    steps = measure_in_turns(kinds, options.runs)
    results = {"peaks": peaks, "trunk": trunk, "steps": [asdict(step) for step in steps]}
    report(results, format_limit(peaks, trunk, steps, f"{options.backbone}, {options.size} px"), options.json)


def list_kinds(network: Network, settings: TrainSettings, options: argparse.Namespace) -> dict[str, "TrainingStep"]:
    """Return the kinds of steps that the command line asks for, by name."""
    prepare = partial(TrainingStep, network, options.size)
    kinds = {f"a step, {batch} photos": prepare(batch, settings) for batch in options.batches}
    first = options.batches[0]
    if has_bfloat16():
        fast = settings.model_copy(update={"precision": "bfloat16"})
        kinds[f"bfloat16, {first} photos"] = prepare(first, fast)
    if options.compile:
        kinds[f"torch.compile, {first} photos"] = prepare(first, settings, torch.compile)
    return kinds


def measure_in_turns(kinds: dict[str, "TrainingStep"], runs: int) -> list[Step]:
    """Run each kind of step in turns, since the load of other programs comes and goes; the median counts."""
    for step in kinds.values():
        step.run()  # it compiles, or finds its memory
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(runs):
        for name, step in kinds.items():
            seconds[name].append(best_seconds(step.run, runs=1))
    measured = []
    for name, step in kinds.items():
        middle = median(seconds[name])
        measured.append(Step(name=name, batch=step.batch, seconds=middle, speed=step.operations / middle))
    return measured


def format_limit(peaks: dict[str, float], trunk: float, steps: list[Step], title: str) -> str:
    """Format the speeds as a table, with their shares of the best matrix product."""
    peak = max(peaks.values())
    rows = [
        ["the best matrix product", "", f"{peak / 1e9:.0f}", "1.00"],
        ["frozen layers (OpenVINO)", "", f"{trunk / 1e9:.0f}", f"{trunk / peak:.2f}"],
    ]
    for step in steps:
        milliseconds = f"{1000 * step.seconds / step.batch:.1f}"
        rows.append([step.name, milliseconds, f"{step.speed / 1e9:.0f}", f"{step.speed / peak:.2f}"])
    return table([title, "ms a photo", "GFLOP/s", "share"], rows)


def time_after_warm_up(work: Callable[[], object], runs: int) -> float:
    """Return the fewest seconds of several runs, after one that does not count."""
    work()
    return best_seconds(work, runs)


def measure_products(runs: int) -> dict[str, float]:
    """Return the operations per second of matrix products, by library and shape."""
    speeds = {}
    for library, multiply in (("PyTorch", prepare_torch_product), ("OpenVINO", prepare_openvino_product)):
        for shape in SHAPES:
            rows, inner, columns = shape
            seconds = time_after_warm_up(multiply(shape), runs)
            speeds[f"{library}, {shape}"] = 2 * rows * inner * columns / seconds
    return speeds


def prepare_torch_product(shape: Shape) -> Callable[[], object]:
    """Return a function that multiplies two matrices with PyTorch."""
    rows, inner, columns = shape
    left = torch.randn(rows, inner)
    right = torch.randn(inner, columns)
    return lambda: left @ right


def prepare_openvino_product(shape: Shape) -> Callable[[], object]:
    """Return a function that multiplies a matrix by a constant one with OpenVINO, like a network by its weights."""
    rows, inner, columns = shape
    left = ops.parameter([rows, inner], np.float32)
    right = ops.constant(np.random.default_rng(0).standard_normal((inner, columns), dtype=np.float32))
    model = openvino.Model([ops.matmul(left, right, False, False)], [left])
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    values = np.random.default_rng(1).standard_normal((rows, inner), dtype=np.float32)
    return lambda: request.infer([values], share_inputs=True, share_outputs=True)


def measure_trunk(network: Network, size: int, runs: int) -> float:
    """Return the operations per second of the frozen layers."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.trunk(torch.zeros(1, 3, size, size))
    run = build_openvino(network, size)
    images = np.random.default_rng(0).integers(0, 256, (TRUNK_BATCH, size, size, 3), dtype=np.uint8)
    return TRUNK_BATCH * int(counter.get_total_flops()) / time_after_warm_up(lambda: run(images), runs)


class TrainingStep:
    """A training step on random features, with the last stage as `prepare` (say, torch.compile) returns it."""

    def __init__(
        self,
        network: Network,
        size: int,
        batch: int,
        settings: TrainSettings,
        prepare: Callable[[nn.Module], Any] = lambda tail: tail,
    ) -> None:
        self._network = Network(network.backbone, N_CATEGORIES, settings.classifier, N_LEAVES).train()
        self.batch = batch
        self._precision = settings.precision
        with torch.inference_mode():
            features = self._network.trunk(torch.zeros(1, 3, size, size))
        self._inputs = torch.randn(batch, *features.shape[1:]).to(memory_format=torch.channels_last)
        self._loss = TrainingLoss(settings)
        rng = np.random.default_rng(0)
        self._targets = Targets(
            labels=torch.from_numpy(rng.integers(0, N_CATEGORIES, batch)),
            leaves=torch.from_numpy(rng.integers(0, N_LEAVES, batch)),
            products=torch.from_numpy(np.arange(batch) // 2),
            titles=None,
        )
        self._tail = prepare(self._network.tail)
        trainable = [parameter for parameter in self._network.parameters() if parameter.requires_grad]
        self._optimiser = torch.optim.Adam(trainable, lr=1e-5, fused=True)

    @property
    def operations(self) -> int:
        """The floating-point operations of a step: three times the forward pass.

        The backward pass computes two products for each product of the forward pass. PyTorch's own count of it is too
        high for depthwise convolutions.
        """
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            self._network.tail(self._inputs)
        return 3 * int(counter.get_total_flops())

    def run(self) -> None:
        """Run the step."""
        self._optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self._precision == "bfloat16"):
            embeddings = self._tail(self._inputs)
            predictions = Predictions(
                embeddings=embeddings,
                logits=self._network.head(embeddings),
                leaf_logits=self._network.leaves(embeddings) if self._network.leaves else None,
                titles=None,
            )
            loss = self._loss(predictions, self._targets)
        loss.backward()
        self._optimiser.step()


if __name__ == "__main__":
    main()
