"""Peak memory (resident set) of one epoch of training on N synthetic images, including the frozen layers' features.

    python benchmarks/memory.py [--images 12600] [--size 256] [--backbone efficientnet_lite0] [--json OUT]

The array of images is a sparse file of zeros, read like any other; the content of an image makes no difference here.
"""

import math
import os
import tempfile
import time
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


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__, params=False)
    parser.add_argument("--images", type=int, default=12_600, help="number of images (default: 12600)")
    parser.add_argument("--size", type=int, default=256, help="pixels a side (default: 256)")
    parser.add_argument("--backbone", choices=BACKBONES, default="efficientnet_lite0")
    options = parser.parse_args()
    settings = load_settings(ROOT / "params.yaml").train.model_copy(update={"lr": 1e-6})
    network = build_pretrained_network(options.backbone, "none")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        checkpoints.save_pretrained(folder / "pretrained.pt", network, weights="none")
        os.environ |= {"MARKETPLACE_CACHE": str(folder / "cache"), ROOM_VARIABLE: "1e6"}
        data = make_data(folder / "images.npy", options.images, options.size)
        trunk = open_trunk(folder / "pretrained.pt", options.size, folder)
        peak_before = peak_gib()
        started = time.perf_counter()
        with Recorder(folder / "metrics", folder / "logs", folder / "epochs") as recorder:
            train(checkpoints.load(trunk.checkpoint), trunk, data, settings, 1, recorder)
        seconds = time.perf_counter() - started
    results = {
        "images": options.images,
        "size": options.size,
        "backbone": options.backbone,
        "array_gib": math.prod(data.images.shape) / 2**30,
        "before_gib": peak_before,
        "peak_gib": peak_gib(),
        "seconds": seconds,
    }
    columns = ["images", "size", "the array", "peak before training", "peak", "seconds"]
    row = [
        str(options.images),
        f"{options.size} px",
        f"{results['array_gib']:.1f} GiB",
        f"{peak_before:.2f} GiB",
        f"**{results['peak_gib']:.2f} GiB**",
        f"{seconds:.0f}",
    ]
    report(results, table(columns, [row]), options.json)


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
