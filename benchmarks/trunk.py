"""Images per second through the frozen trunk: PyTorch eager, with BatchNorm folded, compiled, ONNX Runtime, OpenVINO.

    python benchmarks/trunk.py [--backbones efficientnet_lite0 resnet50] [--sizes 64 160 256] [--runs 5] [--json OUT]

Each gets float32 and the batch size that suits it best (of 2, 8 and 32); best of --runs. GFLOP/s count a multiply-add
as two, and are compared with PyTorch's float32 matrix product of 2048 by 2048 in this process. ONNX Runtime takes part
if it is installed (pip install onnx onnxruntime).
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
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.flop_counter import FlopCounterMode
from workspace import parser, report, table

from marketplace.inference.trunk import TrunkRunner
from marketplace.models.backbones import BACKBONES
from marketplace.models.network import Network, pretrained_network

BATCH_SIZES = (2, 8, 32)
Run = Callable[[np.ndarray], object]


def main() -> None:
    """Parse the command line, run, print."""
    command = parser(__doc__, params=False)
    command.add_argument("--backbones", nargs="+", choices=BACKBONES, default=["efficientnet_lite0", "resnet50"])
    command.add_argument("--sizes", type=int, nargs="+", default=[64, 160, 256], help="(default: 64 160 256)")
    command.add_argument("--runs", type=int, default=5, help="best of so many (default: 5)")
    options = command.parse_args()
    warnings.simplefilter("ignore")
    peak, results = matrix_product_flops(), []
    for backbone in options.backbones:
        # Speed does not depend on the weights; ResNet-50's would be downloaded.
        network = pretrained_network(backbone, "none").eval()
        for size in options.sizes:
            of_image = flops(network, size)
            for name, build in CONTENDERS.items():
                speed = images_per_second(build, network, size, options.runs)
                results.append(
                    {
                        "backbone": backbone,
                        "size": size,
                        "contender": name,
                        "images_per_second": speed,
                        "gflops": speed * of_image / 1e9,
                    }
                )
                print(f"{backbone} at {size} px, {name}: {speed:.0f} images/s", file=sys.stderr)
    report({"matrix_product_gflops": peak / 1e9, "results": results}, markdown(peak, results), options.json)


def eager(network: Network, size: int) -> Run:
    """PyTorch, as it is."""
    return torch_runner(network, network.trunk)


def folded(network: Network, size: int) -> Run:
    """PyTorch with every BatchNorm folded into the convolution before it."""
    trunk = copy.deepcopy(network.trunk)
    for parent in [module for module in trunk.modules() if len(list(module.children())) > 1]:
        convolution: tuple[str, nn.Conv2d] | None = None
        for name, module in list(parent.named_children()):
            if convolution and isinstance(module, nn.BatchNorm2d):
                setattr(parent, convolution[0], fuse_conv_bn_eval(convolution[1], module))
                # timm's BatchNorm has the activation inside.
                setattr(
                    parent, name, nn.Sequential(*[getattr(module, k) for k in ("drop", "act") if hasattr(module, k)])
                )
            convolution = (name, module) if isinstance(module, nn.Conv2d) else None
    return torch_runner(network, trunk.to(memory_format=torch.channels_last))


def compiled(network: Network, size: int) -> Run:
    """torch.compile, with the weights as constants."""
    import torch._inductor.config

    torch._inductor.config.freezing = True
    torch._dynamo.reset()
    return torch_runner(network, torch.compile(network.trunk))


def torch_runner(network: Network, trunk: Callable[[Tensor], Tensor]) -> Run:
    """From images to float16 features, as marketplace.inference.trunk computes them."""

    @torch.inference_mode()
    def run(images: np.ndarray) -> object:
        return trunk(network.pixels(images)).half().permute(0, 2, 3, 1).numpy()

    return run


def onnx_runtime(network: Network, size: int) -> Run:
    """ONNX Runtime on the exported trunk."""
    import onnxruntime

    axes = {"pixels": {0: "n"}}
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        torch.onnx.export(
            network.trunk,
            (torch.zeros(1, 3, size, size),),
            file.name,
            dynamo=False,
            input_names=["pixels"],
            dynamic_axes=axes,
        )
        content = Path(file.name).read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> object:
        pixels = network.pixels(images).contiguous().numpy()
        return session.run(None, {"pixels": pixels})[0].astype(np.float16).transpose(0, 2, 3, 1)

    return run


CONTENDERS: dict[str, Callable[[Network, int], Run]] = {
    "PyTorch, eager": eager,
    "PyTorch, BatchNorm folded": folded,
    "torch.compile": compiled,
    **({"ONNX Runtime": onnx_runtime} if importlib.util.find_spec("onnxruntime") else {}),
    "OpenVINO (this project's)": TrunkRunner,
}


def images_per_second(build: Callable[[Network, int], Run], network: Network, size: int, runs: int) -> float:
    """The best of all batch sizes; a run takes a tenth of a second or more."""
    run, best = build(network, size), 0.0
    for batch_size in BATCH_SIZES:
        images = np.random.default_rng(0).integers(0, 256, (batch_size, size, size, 3), dtype=np.uint8)
        run(images)
        for _ in range(runs):
            started, n = time.perf_counter(), 0
            while (elapsed := time.perf_counter() - started) < 0.1:
                run(images)
                n += batch_size
            best = max(best, n / elapsed)
    return best


def flops(network: Network, size: int) -> int:
    """Floating-point operations of the trunk for one image."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.trunk(torch.zeros(1, 3, size, size))
    return int(counter.get_total_flops())


def matrix_product_flops(n: int = 2048) -> float:
    """The best of ten float32 products of two n by n matrices, in operations per second."""
    left, right = torch.randn(n, n), torch.randn(n, n)
    seconds = []
    for _ in range(11):
        started = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - started)
    return float(2 * n**3 / min(seconds))


def markdown(peak: float, results: list[dict[str, Any]]) -> str:
    """A row for each backbone, size and contender."""
    rows = []
    for result in results:
        base = next(r for r in results if (r["backbone"], r["size"]) == (result["backbone"], result["size"]))
        rows.append(
            [
                f"{result['backbone']}, {result['size']} px: {result['contender']}",
                f"{result['images_per_second']:.0f}",
                f"{result['images_per_second'] / base['images_per_second']:.2f}",
                f"{result['gflops']:.0f}",
                f"{1e9 * result['gflops'] / peak:.2f}",
            ]
        )
    columns = ["float32", "images/s", "times eager", "GFLOP/s", "of the matrix product"]
    return f"float32 matrix product: {peak / 1e9:.0f} GFLOP/s\n\n" + table(columns, rows)


if __name__ == "__main__":
    main()
