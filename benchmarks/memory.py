"""Peak memory (resident set) of one epoch of training on N synthetic images, including the frozen layers' features.

    python benchmarks/memory.py [--images 12600 126000] [--size 192] [--backbone efficientnet_lite0] [--json OUT]

The array of images is a sparse file of zeros, read like any other; the content of an image makes no difference here.
Each number of images has a process of its own.
"""

import math
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from networks import open_trunk
from workspace import ROOT, make_parser, peak_gib, report, table

from marketplace.compute.user_cache import ROOM_VARIABLE
from marketplace.models import checkpoints
from marketplace.models.backbones import BACKBONES
from marketplace.models.network import build_pretrained_network
from marketplace.settings import load_settings
from marketplace.training.data import Split, TrainingData
from marketplace.training.recorder import Recorder
from marketplace.training.trainer import train

N_CATEGORIES = 13
TRAIN_SHARE = 0.72
VAL_SHARE = 0.13


@dataclass(frozen=True)
class Measured:
    """One epoch of training on a number of images; memory is that of its process."""

    images: int
    array_gib: float
    before_gib: float  # at most, before training
    peak_gib: float
    seconds: float


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__, params=False)
    numbers = [12_600, 126_000]
    parser.add_argument(
        "--images", type=int, nargs="+", default=numbers, help="numbers of images (default: %(default)s)"
    )
    parser.add_argument("--size", type=int, default=192, help="pixels a side (default: 192)")
    parser.add_argument("--backbone", choices=BACKBONES, default="efficientnet_lite0")
    options = parser.parse_args()
    results = []
    for n_images in options.images:
        with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as process:
            results.append(process.submit(measure, n_images, options.size, options.backbone).result())
        print(results[-1], flush=True)
    columns = [f"images of {options.size} px", "the array", "peak before training", "peak", "seconds"]
    figures = {
        "size": options.size,
        "backbone": options.backbone,
        "results": [asdict(result) for result in results],
    }
    report(figures, table(columns, [format_row(result) for result in results]), options.json)


def measure(n_images: int, size: int, backbone: str) -> Measured:
    """Train for an epoch in this process."""
    settings = load_settings(ROOT / "params.yaml").train.model_copy(update={"lr": 1e-6})
    network = build_pretrained_network(backbone, "none")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        checkpoints.save_pretrained(folder / "pretrained.pt", network, weights="none")
        os.environ |= {"MARKETPLACE_CACHE": str(folder / "cache"), ROOM_VARIABLE: "1e6"}
        data = make_data(folder / "images.npy", n_images, size)
        trunk = open_trunk(folder / "pretrained.pt", size, folder)
        peak_before = peak_gib()
        started = time.perf_counter()
        with Recorder(folder / "metrics", folder / "logs", folder / "epochs") as recorder:
            train(checkpoints.load(trunk.checkpoint), trunk, data, settings, 1, recorder)
        return Measured(
            images=n_images,
            array_gib=math.prod(data.images.shape) / 2**30,
            before_gib=peak_before,
            peak_gib=peak_gib(),
            seconds=time.perf_counter() - started,
        )


def format_row(result: Measured) -> list[str]:
    """Format a row of the table."""
    return [
        f"{result.images:,}",
        f"{result.array_gib:.1f} GiB",
        f"{result.before_gib:.2f} GiB",
        f"{result.peak_gib:.2f} GiB",
        f"{result.seconds:.0f}",
    ]


def make_data(path: Path, n: int, size: int) -> TrainingData:
    """Make `n` images, of which 72 % train and 13 % validate."""
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(n, size, size, 3))
    train_end = int(TRAIN_SHARE * n)
    val_end = int((TRAIN_SHARE + VAL_SHARE) * n)
    categories = [f"category {index}" for index in range(N_CATEGORIES)]
    return TrainingData(
        images=np.load(path, mmap_mode="r"),
        train=make_split(np.arange(train_end)),
        val=make_split(np.arange(train_end, val_end)),
        categories=categories,
        leaves=categories,
    )


def make_split(rows: np.ndarray) -> Split:
    """Make a split with one image per product and one leaf category per root category."""
    labels = torch.from_numpy(rows % N_CATEGORIES)
    return Split(rows=rows, labels=labels, products=torch.arange(len(rows)), leaves=labels)


if __name__ == "__main__":
    main()
