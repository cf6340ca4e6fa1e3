"""Photos scaled whole onto squares, in one array per shard and size."""

import functools
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from cykooz_resizer import FilterType, ImageData, PixelType, ResizeAlg, ResizeOptions, Resizer
from pydantic import Field

from marketplace.cluster.placement import map_shards
from marketplace.common.files import replacing
from marketplace.common.params import Section
from marketplace.compute.arrays import RowFile
from marketplace.photos.codec import BACKGROUND, decode_array
from marketplace.raw.shards import read_shard, shard_paths

# An image that is scaled down by two or more loses nothing visible by being decoded at a smaller size.
OVERSAMPLING = 2
# Antialiased, as ImageNet networks were fed: Pillow's filter, in a sixth of its time.
_BICUBIC = ResizeOptions(ResizeAlg.convolution(FilterType.catmull_rom))

ImageSize = Annotated[int, Field(ge=32, le=1024)]


class ResizeSettings(Section):
    """Pixels a side."""

    small: ImageSize
    full: ImageSize


def letterbox(image: np.ndarray, size: int) -> np.ndarray:
    """Scale the whole image `(H, W, 3) uint8` to fit and centre it on a white square: `(size, size, 3) uint8`."""
    height, width = _fit(image, size)
    pixels = ImageData(image.shape[1], image.shape[0], PixelType.U8x3, image.tobytes())
    scaled = ImageData(width, height, PixelType.U8x3)
    Resizer().resize(pixels, scaled, _BICUBIC)
    return _centre(np.frombuffer(scaled.get_buffer(), np.uint8).reshape(height, width, 3), size)


def _fit(image: np.ndarray, size: int) -> tuple[int, int]:
    """Return the height and width of an image whose longer side is scaled to `size`."""
    scale = size / max(image.shape[:2])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return height, width


def _centre(image: np.ndarray, size: int) -> np.ndarray:
    square = _white_square(size).copy()
    height, width = image.shape[:2]
    left = (size - width) // 2
    top = (size - height) // 2
    square[top : top + height, left : left + width] = image
    return square


@functools.cache
def _white_square(size: int) -> np.ndarray:
    return np.full((size, size, 3), BACKGROUND, dtype=np.uint8)


def resize_shards(folder: Path, photos: pd.DataFrame, targets: dict[Path, int]) -> None:
    """Write the squares of photos, shard by shard; the keys of `targets` are folders, the values the sizes there.

    `photos` has file (the name) and shard (ascending: the number of the tar shard that it is in). `NNN.npy` holds the
    squares of shard NNN in that order, `(n, size, size, 3) uint8`. A photo is decoded once for all sizes. A shard has
    one writer, so the result does not depend on who finishes first.

    Raises ValueError if a shard lacks one of its photos.
    """
    for target in targets:
        target.mkdir(parents=True)
    names_by_shard = {number: names.tolist() for number, names in photos.groupby("shard")["file"]}
    tasks = [(path, names_by_shard.get(number, []), targets) for number, path in enumerate(shard_paths(folder))]
    for _ in map_shards(_resize_shard, tasks, "resizing photos"):
        pass
    for target in targets:
        for leftover in target.glob("*.part"):  # of a worker that was killed, or replaced
            leftover.unlink(missing_ok=True)


def _resize_shard(shard: Path, names: list[str], targets: dict[Path, int]) -> None:
    """Write the squares of the named photos of one shard, in the order of the names."""
    rows = {name: row for row, name in enumerate(names)}
    n_written = 0
    with ExitStack() as stack:
        files = {}
        for target, size in targets.items():
            # A worker that lost its connection, and was replaced, may still be writing the same file.
            part = stack.enter_context(replacing(target / f"{shard.stem}.npy", shared=True))
            files[size] = RowFile(stack.enter_context(part.open("wb")), (len(names), size, size, 3), np.dtype(np.uint8))
        for name, content in read_shard(shard):
            if name in rows:
                image = decode_array(content, OVERSAMPLING * max(files))
                for size, file in files.items():
                    file.write(rows[name], letterbox(image, size))
                n_written += 1
        if n_written != len(names):
            raise ValueError(f"{shard} has {n_written} of {len(names)} photos")
