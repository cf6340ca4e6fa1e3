"""Images per second through the frozen trunk: PyTorch eager, with BatchNorm folded, compiled, ONNX Runtime, OpenVINO.

    python benchmarks/trunk.py [--backbones efficientnet_lite0 resnet50] [--sizes 64 160 256] [--runs 5] [--json OUT]

Each gets float32 and the batch size that suits it best (2, 8 or 32); the best of --runs counts. GFLOP/s count a
multiply-add as two, and are compared with PyTorch's float32 product of 2048 x 2048 matrices in this process. ONNX
Runtime takes part if it is installed (pip install onnx onnxruntime).
"""

import copy
import importlib.util
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from networks import open_trunk
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.flop_counter import FlopCounterMode
from workspace import best_seconds, make_parser, report, table

from marketplace.models import checkpoints
from marketplace.models.backbones import BACKBONES
from marketplace.models.network import Network, build_pretrained_network

BATCH_SIZES = (2, 8, 32)
MIN_RUN_SECONDS = 0.1
Run = Callable[[np.ndarray], object]


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__, params=False)
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=["efficientnet_lite0", "resnet50"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 160, 256], help="(default: 64 160 256)")
    parser.add_argument("--runs", type=int, default=5, help="the best of these counts (default: 5)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    peak = measure_matrix_product()
    results = []
    for backbone in options.backbones:
        # Speed does not depend on the weights; ResNet-50's would be downloaded.
        network = build_pretrained_network(backbone, "none").eval()
        for size in options.sizes:
            flops_per_image = count_flops(network, size)
            for name, build in CONTENDERS.items():
                speed = images_per_second(build(network, size), size, options.runs)
                results.append(
                    {
                        "backbone": backbone,
                        "size": size,
                        "contender": name,
                        "images_per_second": speed,
                        "gflops": speed * flops_per_image / 1e9,
                    }
                )
                print(f"{backbone} at {size} px, {name}: {speed:.0f} images/s", file=sys.stderr)
    report({"matrix_product_gflops": peak / 1e9, "results": results}, format_results(peak, results), options.json)


def build_eager(network: Network, size: int) -> Run:
    """Run PyTorch as it is."""
    return run_with_torch(network, network.trunk)


def build_folded(network: Network, size: int) -> Run:
    """Run PyTorch with every BatchNorm folded into the convolution before it."""
    trunk = copy.deepcopy(network.trunk)
    for parent in [module for module in trunk.modules() if len(list(module.children())) > 1]:
        convolution: tuple[str, nn.Conv2d] | None = None
        for name, module in list(parent.named_children()):
            if convolution and isinstance(module, nn.BatchNorm2d):
                setattr(parent, convolution[0], fuse_conv_bn_eval(convolution[1], module))
                # timm's BatchNorm has the activation inside.
                remaining = [getattr(module, part) for part in ("drop", "act") if hasattr(module, part)]
                setattr(parent, name, nn.Sequential(*remaining))
            convolution = (name, module) if isinstance(module, nn.Conv2d) else None
    return run_with_torch(network, trunk.to(memory_format=torch.channels_last))


def build_compiled(network: Network, size: int) -> Run:
    """Run torch.compile, with the weights as constants."""
    import torch._inductor.config

    torch._inductor.config.freezing = True
    torch._dynamo.reset()
    return run_with_torch(network, torch.compile(network.trunk))


def run_with_torch(network: Network, trunk: Callable[[Tensor], Tensor]) -> Run:
    """Return a function from images to float16 features, computed as in marketplace.inference.trunk."""

    @torch.inference_mode()
    def run(images: np.ndarray) -> object:
        return trunk(network.pixels(images)).half().permute(0, 2, 3, 1).numpy()

    return run


def build_onnx_runtime(network: Network, size: int) -> Run:
    """Run ONNX Runtime on the exported trunk."""
    import onnxruntime

    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        torch.onnx.export(
            network.trunk,
            (torch.zeros(1, 3, size, size),),
            file.name,
            dynamo=False,
            input_names=["pixels"],
            dynamic_axes={"pixels": {0: "n"}},
        )
        content = Path(file.name).read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> object:
        pixels = network.pixels(images).contiguous().numpy()
        return session.run(None, {"pixels": pixels})[0].astype(np.float16).transpose(0, 2, 3, 1)

    return run


def build_openvino(network: Network, size: int) -> Run:
    """Run the trunk as the pipeline does."""
    folder = Path(tempfile.mkdtemp())
    checkpoints.save_pretrained(folder / "pretrained.pt", network, weights="none")
    return open_trunk(folder / "pretrained.pt", size, folder)


CONTENDERS: dict[str, Callable[[Network, int], Run]] = {
    "PyTorch, eager": build_eager,
    "PyTorch, BatchNorm folded": build_folded,
    "torch.compile": build_compiled,
    "ONNX Runtime": build_onnx_runtime,
    "OpenVINO (ours)": build_openvino,
}
if importlib.util.find_spec("onnxruntime") is None:
    del CONTENDERS["ONNX Runtime"]


def images_per_second(run: Run, size: int, runs: int) -> float:
    """Return the speed with the best batch size; a run takes a tenth of a second or more."""
    best = 0.0
    for batch_size in BATCH_SIZES:
        images = np.random.default_rng(0).integers(0, 256, (batch_size, size, size, 3), dtype=np.uint8)
        run(images)  # warm up
        for _ in range(runs):
            n_images = 0
            elapsed = 0.0
            started = time.perf_counter()
            while elapsed < MIN_RUN_SECONDS:
                run(images)
                n_images += batch_size
                elapsed = time.perf_counter() - started
            best = max(best, n_images / elapsed)
    return best


def count_flops(network: Network, size: int) -> int:
    """Count the floating-point operations of the trunk for one image."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.trunk(torch.zeros(1, 3, size, size))
    return int(counter.get_total_flops())


def measure_matrix_product(n: int = 2048) -> float:
    """Return the operations per second of the best of eleven float32 products of two n x n matrices."""
    left = torch.randn(n, n)
    right = torch.randn(n, n)
    return float(2 * n**3 / best_seconds(lambda: left @ right, runs=11))


def format_results(peak: float, results: list[dict[str, Any]]) -> str:
    """Format a row for each backbone, size and contender."""
    eager = {
        (result["backbone"], result["size"]): result["images_per_second"]
        for result in results
        if result["contender"] == "PyTorch, eager"
    }
    rows = [
        [
            f"{result['backbone']}, {result['size']} px: {result['contender']}",
            f"{result['images_per_second']:.0f}",
            f"{result['images_per_second'] / eager[result['backbone'], result['size']]:.2f}",
            f"{result['gflops']:.0f}",
            f"{1e9 * result['gflops'] / peak:.2f}",
        ]
        for result in results
    ]
    columns = ["float32", "images/s", "times eager", "GFLOP/s", "of the matrix product"]
    return f"float32 matrix product: {peak / 1e9:.0f} GFLOP/s\n\n" + table(columns, rows)


if __name__ == "__main__":
    main()
