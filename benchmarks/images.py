"""Photos per second from JPEGs on disk to squares: resize_images against other ways, and the check in clean.

    python benchmarks/images.py -S fetch.source=local -S fetch.local.path=../shared/listings
        [--sizes 256] [--runs 3] [--json OUT]

All ways get the same cleaned JPEGs and one process per core, and take turns; the best of --runs counts, for the time
and for the work of the cores, which other programs disturb less. Nothing is kept from one run to the next. Every way
but vipsthumbnail writes one array to disk. vipsthumbnail (Debian's libvips-tools; left out if it is not installed)
writes uncompressed files, and scales with its own kernel. PSNR compares the images with the Pillow loop's, over 200
photos.
"""

import io
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from figures import wrap
from PIL import Image
from time_to_accuracy import write_cleaned_photos
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms.v2 import functional as transforms
from workspace import Workspace, best_seconds, make_parser, report, table, workspace

from marketplace.catalogue.photo_check import check_shards
from marketplace.common.files import remove
from marketplace.compute.arrays import ShardedArray
from marketplace.photos.codec import decode_array
from marketplace.photos.squares import OVERSAMPLING, letterbox, resize_shards

N_COMPARED = 200
N_ENLARGED = 8
SIDES = (256, 800, 1600, 4000)  # pixels of a photo's longer side, up to a phone's
SQUARES = (64, 288)  # as the pipeline makes them
PILLOW = "a Pillow loop"


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256], help="pixels a side (default: 256)")
    parser.add_argument("--runs", type=int, default=3, help="the best of these counts (default: 3)")
    options = parser.parse_args()
    results = []
    with workspace(options.set) as space:
        space.run("fetch", "clean")
        photos = write_cleaned_photos(space)
        for size in options.sizes:
            results += compare_ways(space.folder, photos, size, options.runs)
        seconds = best_seconds(partial(check_without_cache, space), options.runs)
        results.append(
            {"name": "`clean`: every photo checked", "size": None, "photos_per_second": len(photos) / seconds}
        )
        milliseconds = {str(side): time_squares(space.path("photos"), side) for side in SIDES}
    figures = {"photos": len(photos), "results": results, "milliseconds_by_side": milliseconds}
    report({"set": options.set, **figures}, format_photos(figures), options.json)


def check_without_cache(space: Workspace) -> None:
    """Check all photos as `clean` does, for the first time."""
    remove(Path(os.environ["MARKETPLACE_CACHE"]))
    check_shards(space.path("shards"))


def time_squares(folder: Path, side: int) -> float:
    """Return the milliseconds of one core that both squares of a photo take whose longer side has `side` pixels."""
    random = np.random.default_rng(0)
    contents = []
    for path in sorted(folder.iterdir())[:N_ENLARGED]:
        with Image.open(path) as image:
            enlarged = np.asarray(image.resize(scale_to_fit(*image.size, side), Image.Resampling.BICUBIC))
        noisy = np.clip(enlarged + random.normal(0, 4, enlarged.shape), 0, 255).astype(np.uint8)  # as a camera's
        with io.BytesIO() as file:
            Image.fromarray(noisy).save(file, "JPEG", quality=85)
            contents.append(file.getvalue())

    def make_squares() -> None:
        for content in contents:
            image = decode_array(content, OVERSAMPLING * max(SQUARES))
            for size in SQUARES:
                letterbox(image, size)

    return 1000 * best_seconds(make_squares, runs=5) / len(contents)


def compare_ways(folder: Path, photos: pd.DataFrame, size: int, runs: int) -> list[dict[str, Any]]:
    """Measure all ways to make squares of `size` pixels, in turns."""
    paths = [folder / "photos" / f"{image_id}.jpg" for image_id in photos["image_id"]]
    ways: dict[str, Callable[[], np.ndarray]] = {
        "`resize_images`": partial(resize_with_marketplace, folder, photos, size),
        PILLOW: partial(resize_in_parallel, resize_with_pillow, paths, size, folder / "pillow.npy"),
        "torchvision `decode_jpeg` and `resize`": partial(
            resize_in_parallel, resize_with_torchvision, paths, size, folder / "torchvision.npy"
        ),
    }
    if shutil.which("vipsthumbnail"):
        ways["vipsthumbnail"] = partial(resize_with_vips, paths, size, folder / "thumbnails")
    seconds = dict.fromkeys(ways, float("inf"))
    core_seconds = dict.fromkeys(ways, float("inf"))
    images: dict[str, np.ndarray] = {}
    for _ in range(runs):
        for name, way in ways.items():
            started = time.perf_counter()
            core_started = total_core_seconds()
            array = way()
            seconds[name] = min(seconds[name], time.perf_counter() - started)
            core_seconds[name] = min(core_seconds[name], total_core_seconds() - core_started)
            images[name] = np.array(array[:N_COMPARED])
    return [
        {
            "name": name,
            "size": size,
            "photos_per_second": len(paths) / seconds[name],
            "core_milliseconds": 1000 * core_seconds[name] / len(paths),
            "psnr": psnr(images[name], images[PILLOW]),
        }
        for name in ways
    ]


def total_core_seconds() -> float:
    """Return the seconds that processors have worked for this process and those that it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def resize_with_marketplace(folder: Path, photos: pd.DataFrame, size: int) -> np.ndarray:
    """Resize as the stage does."""
    remove(folder / "ours")
    resize_shards(folder / "shards", photos, {folder / "ours": size})
    return ShardedArray(folder / "ours")[:]


def resize_in_parallel(
    resize: Callable[[list[Path], int, int, Path], None], paths: list[Path], size: int, out: Path
) -> np.ndarray:
    """Fill one array from a process per core, each with its part of the photos."""
    np.lib.format.open_memmap(out, mode="w+", dtype=np.uint8, shape=(len(paths), size, size, 3))
    with ProcessPoolExecutor() as pool:
        parts = np.array_split(np.arange(len(paths)), 16)
        futures = [pool.submit(resize, [paths[i] for i in part], int(part[0]), size, out) for part in parts]
        for future in futures:
            future.result()
    return np.load(out, mmap_mode="r")


def resize_with_pillow(paths: list[Path], first: int, size: int, out: Path) -> None:
    """Open photos, scale them to fit (bicubic, antialiased) and paste them on white, from row `first` of `out`."""
    array = np.load(out, mmap_mode="r+")
    for row, path in enumerate(paths, start=first):
        with Image.open(path) as image:
            width, height = scale_to_fit(*image.size, size)
            square = Image.new("RGB", (size, size), (255, 255, 255))
            scaled = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
            square.paste(scaled, ((size - width) // 2, (size - height) // 2))
            array[row] = np.asarray(square)


def resize_with_torchvision(paths: list[Path], first: int, size: int, out: Path) -> None:
    """Decode photos, scale them to fit (bicubic, antialiased) and paste them on white, from row `first` of `out`."""
    torch.set_num_threads(1)
    array = np.load(out, mmap_mode="r+")
    for row, path in enumerate(paths, start=first):
        image = decode_jpeg(read_file(str(path)), mode=ImageReadMode.RGB)
        width, height = scale_to_fit(image.shape[2], image.shape[1], size)
        scaled = transforms.resize(image, [height, width], transforms.InterpolationMode.BICUBIC, antialias=True)
        array[row] = 255
        paste_in_the_middle(array[row], scaled.permute(1, 2, 0).numpy())


def resize_with_vips(paths: list[Path], size: int, folder: Path) -> np.ndarray:
    """Run one vipsthumbnail per core over its part of the photos. It shrinks to fit: squares are made here, untimed."""
    folder.mkdir(exist_ok=True)
    command = ["vipsthumbnail", "--size", f"{size}x{size}", "--vips-concurrency=1", "-o", f"{folder}/%s.ppm"]
    parts = np.array_split(np.array(paths), torch.get_num_threads())
    processes = [subprocess.Popen([*command, *map(str, part)]) for part in parts]
    for process in processes:
        if process.wait():
            raise RuntimeError("vipsthumbnail failed")
    squares = np.full((N_COMPARED, size, size, 3), 255, dtype=np.uint8)
    for square, path in zip(squares, paths, strict=False):
        paste_in_the_middle(square, np.asarray(Image.open(folder / f"{path.stem}.ppm")))
    return squares


def paste_in_the_middle(square: np.ndarray, image: np.ndarray) -> None:
    """Copy an image `(H, W, 3)` into the middle of a square `(S, S, 3)`."""
    size = len(square)
    height, width = image.shape[:2]
    top = (size - height) // 2
    left = (size - width) // 2
    square[top : top + height, left : left + width] = image


def scale_to_fit(width: int, height: int, size: int) -> tuple[int, int]:
    """Return the width and height with `size` as the longer side."""
    scale = size / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def psnr(images: np.ndarray, others: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB, from the mean squared error over all images."""
    error = np.square(images.astype(np.float64) - others).mean()
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def format_photos(figures: dict[str, Any]) -> str:
    """Format the figures: a row for each way and size, and the time for larger photos."""
    rows = [
        [
            result["name"] + (f", {result['size']} px" if result["size"] else ""),
            f"{result['photos_per_second']:,.0f}",
            f"{result['core_milliseconds']:.2f}" if "core_milliseconds" in result else "",
            f"{result['psnr']:.1f} dB" if isfinite(result.get("psnr", inf)) else "",
        ]
        for result in figures["results"]
    ]
    times = [f"{value:.1f} ms for {side} px" for side, value in figures["milliseconds_by_side"].items()]
    sentence = wrap(
        f"{figures['photos']:,} photos. Both squares of a photo take {', '.join(times)} (its longer side), on one core."
    )
    return f"{table(['', 'photos/s', 'core ms a photo', 'PSNR'], rows)}\n\n{sentence}"


if __name__ == "__main__":
    main()
