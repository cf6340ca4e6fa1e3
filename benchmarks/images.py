"""Photos per second from JPEGs on disk to squares: resize_images against other ways, and the check in clean.

    python benchmarks/images.py -S fetch.source=local -S fetch.local.path=../shared/listings
        [--sizes 256] [--runs 3] [--json OUT]

All get the same cleaned JPEGs and one process per core; best of --runs, taking turns. Every way except vipsthumbnail
writes one array to disk; vipsthumbnail (Debian's libvips-tools, left out if it is not installed) writes uncompressed
files, and scales with its own kernel. PSNR compares the images with the Pillow loop's, over 200 photos.
"""

import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from time_to_accuracy import cleaned
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms.v2 import functional as transforms
from workspace import parser, report, table, workspace

from marketplace.catalogue.photo_check import check_shards
from marketplace.common.files import remove
from marketplace.compute.arrays import ShardedArray
from marketplace.photos.squares import resize_shards

COMPARED = 200


def main() -> None:
    """Parse the command line, run, print."""
    command = parser(__doc__)
    command.add_argument("--sizes", type=int, nargs="+", default=[256], help="pixels a side (default: 256)")
    command.add_argument("--runs", type=int, default=3, help="best of so many (default: 3)")
    options = command.parse_args()
    results = []
    with workspace(options.set) as space:
        for stage in ("fetch", "clean"):
            space.run(stage)
        photos = cleaned(space)
        for size in options.sizes:
            results += compare(space.folder, photos, size, options.runs)
        seconds = best(lambda: check_shards(space.path("shards")), options.runs)
        results.append(
            {"name": "`clean`: every photo checked", "size": None, "photos_per_second": len(photos) / seconds}
        )
    report({"set": options.set, "results": results}, markdown(results), options.json)


def compare(folder: Path, photos: pd.DataFrame, size: int, runs: int) -> list[dict[str, Any]]:
    """All ways, in turns."""
    paths = [folder / "photos" / f"{image_id}.jpg" for image_id in photos["image_id"]]
    ways: dict[str, Callable[[], np.ndarray]] = {
        "`resize_images`": lambda: ours(folder, photos, size),
        "a Pillow loop": lambda: loop(with_pillow, paths, size, folder / "pillow.npy"),
        "torchvision decode_jpeg, resize": lambda: loop(with_torchvision, paths, size, folder / "torchvision.npy"),
    }
    if shutil.which("vipsthumbnail"):
        ways["vipsthumbnail"] = lambda: vipsthumbnail(paths, size, folder / "thumbnails")
    seconds = dict.fromkeys(ways, float("inf"))
    images: dict[str, np.ndarray] = {}
    for _ in range(runs):
        for name, way in ways.items():
            started = time.perf_counter()
            array = way()
            seconds[name] = min(seconds[name], time.perf_counter() - started)
            images[name] = np.array(array[:COMPARED])
    return [
        {
            "name": name,
            "size": size,
            "photos_per_second": len(paths) / seconds[name],
            "psnr": psnr(images[name], images["a Pillow loop"]),
        }
        for name in ways
    ]


def ours(folder: Path, photos: pd.DataFrame, size: int) -> np.ndarray:
    """The library call of the stage."""
    remove(folder / "ours")
    resize_shards(folder / "shards", photos, {folder / "ours": size})
    return ShardedArray(folder / "ours")[:]


def loop(work: Callable[[list[Path], int, int, Path], None], paths: list[Path], size: int, out: Path) -> np.ndarray:
    """Fill one array from a process per core, each with its part of the photos."""
    np.lib.format.open_memmap(out, mode="w+", dtype=np.uint8, shape=(len(paths), size, size, 3))
    with ProcessPoolExecutor() as pool:
        parts = np.array_split(np.arange(len(paths)), 16)
        futures = [pool.submit(work, [paths[i] for i in part], int(part[0]), size, out) for part in parts]
        for future in futures:
            future.result()
    array: np.ndarray = np.load(out, mmap_mode="r")
    return array


def with_pillow(paths: list[Path], first: int, size: int, out: Path) -> None:
    """Open, scale to fit (bicubic, antialiased), paste on white."""
    array = np.load(out, mmap_mode="r+")
    for row, path in enumerate(paths, start=first):
        with Image.open(path) as image:
            width, height = fitted(*image.size, size)
            square = Image.new("RGB", (size, size), (255, 255, 255))
            scaled = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
            square.paste(scaled, ((size - width) // 2, (size - height) // 2))
            array[row] = np.asarray(square)


def with_torchvision(paths: list[Path], first: int, size: int, out: Path) -> None:
    """decode_jpeg, then resize (bicubic, antialiased), on white."""
    torch.set_num_threads(1)
    array = np.load(out, mmap_mode="r+")
    for row, path in enumerate(paths, start=first):
        image = decode_jpeg(read_file(str(path)), mode=ImageReadMode.RGB)
        width, height = fitted(image.shape[2], image.shape[1], size)
        scaled = transforms.resize(
            image, [height, width], transforms.InterpolationMode.BICUBIC, antialias=True
        ).permute(1, 2, 0)
        left, top = (size - width) // 2, (size - height) // 2
        array[row] = 255
        array[row, top : top + height, left : left + width] = scaled.numpy()


def vipsthumbnail(paths: list[Path], size: int, folder: Path) -> np.ndarray:
    """One vipsthumbnail per core over its part of the photos; it shrinks to fit, so squares are made here, untimed."""
    folder.mkdir(exist_ok=True)
    cores = torch.get_num_threads()
    command = ["vipsthumbnail", "--size", f"{size}x{size}", "--vips-concurrency=1", "-o", f"{folder}/%s.ppm"]
    running = [subprocess.Popen([*command, *map(str, part)]) for part in np.array_split(np.array(paths), cores)]
    for process in running:
        if process.wait():
            raise RuntimeError("vipsthumbnail failed")
    squares = np.full((COMPARED, size, size, 3), 255, dtype=np.uint8)
    for square, path in zip(squares, paths, strict=False):
        image = np.asarray(Image.open(folder / f"{path.stem}.ppm"))
        height, width = image.shape[:2]
        left, top = (size - width) // 2, (size - height) // 2
        square[top : top + height, left : left + width] = image
    return squares


def fitted(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height with the longer side `size`."""
    scale = size / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def psnr(images: np.ndarray, others: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, the mean over the images' squared errors taken first."""
    error = np.square(images.astype(np.float64) - others).mean()
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def best(work: Callable[[], object], runs: int) -> float:
    """The fewest seconds of several runs."""
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def markdown(results: list[dict[str, Any]]) -> str:
    """A row for each way and size."""
    rows = [
        [
            result["name"] + (f", {result['size']} px" if result["size"] else ""),
            f"{result['photos_per_second']:.0f}",
            f"{result['psnr']:.1f} dB" if np.isfinite(result.get("psnr", np.inf)) else "",
        ]
        for result in results
    ]
    return table(["", "photos/s", "PSNR"], rows)


if __name__ == "__main__":
    main()
