"""Peak memory (resident set) of one epoch of training on N synthetic images, frozen layers' features included.

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
from workspace import ROOT, parser, peak_gib, report, table

from marketplace.compute.packs import CACHE_GIB
from marketplace.models.backbones import BACKBONES
from marketplace.models.checkpoints import checkpoint_of
from marketplace.models.network import pretrained_network
from marketplace.settings import load_settings
from marketplace.training.data import Split, TrainingData
from marketplace.training.recorder import Recorder
from marketplace.training.trainer import train

N_CATEGORIES = 13


def main() -> None:
    """Parse the command line, run, print."""
    command = parser(__doc__, params=False)
    command.add_argument("--images", type=int, default=12_600, help="how many (default: 12600)")
    command.add_argument("--size", type=int, default=256, help="pixels a side (default: 256)")
    command.add_argument("--backbone", choices=BACKBONES, default="efficientnet_lite0")
    options = command.parse_args()
    settings = load_settings(ROOT / "params.yaml").train.model_copy(update={"lr": 1e-6})
    network = pretrained_network(options.backbone, "none")
    start = checkpoint_of(network, weights="none", size=0, categories=[], leaves=[], epoch=0, figures={})
    start["state_dict"] = {k: v for k, v in start["state_dict"].items() if not k.startswith("head.categories")}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ |= {"MARKETPLACE_CACHE": str(folder / "cache"), CACHE_GIB: "1e6"}
        data = synthetic(folder / "images.npy", options.images, options.size)
        before, started = peak_gib(), time.perf_counter()
        with Recorder(folder / "metrics", folder / "logs", folder / "epochs") as recorder:
            train(start, data, settings, 1, recorder)
        seconds = time.perf_counter() - started
    results = {
        "images": options.images,
        "size": options.size,
        "backbone": options.backbone,
        "array_gib": math.prod(data.images.shape) / 2**30,
        "before_gib": before,
        "peak_gib": peak_gib(),
        "seconds": seconds,
    }
    columns = ["images", "size", "the array", "peak before training", "peak", "seconds"]
    row = [
        str(options.images),
        f"{options.size} px",
        f"{results['array_gib']:.1f} GiB",
        f"{before:.2f} GiB",
        f"**{results['peak_gib']:.2f} GiB**",
        f"{seconds:.0f}",
    ]
    report(results, table(columns, [row]), options.json)


def synthetic(path: Path, n: int, size: int) -> TrainingData:
    """N images, of which 72 % train and 13 % validate."""
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(n, size, size, 3))
    labels = torch.arange(n) % N_CATEGORIES
    rows = np.arange(int(0.72 * n)), np.arange(int(0.72 * n), int(0.85 * n))
    train_split, val_split = (
        Split(chosen, labels[chosen], torch.arange(len(chosen)), labels[chosen]) for chosen in rows
    )
    categories = [f"category {index}" for index in range(N_CATEGORIES)]
    return TrainingData(np.load(path, mmap_mode="r"), train_split, val_split, categories, categories)


if __name__ == "__main__":
    main()
