"""Photos scaled whole onto squares, and all squares of one size in one array."""

import functools
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch.nn import functional as F

from marketplace.common.files import allocate
from marketplace.common.params import Section
from marketplace.photos.codec import BACKGROUND, decode
from marketplace.raw.parallel import each_shard
from marketplace.raw.shards import image_id_of, read_shard, shard_of, shard_paths

# An image that is scaled down by two or more loses nothing visible by being decoded at a smaller size.
OVERSAMPLING = 2

ImageSize = Annotated[int, Field(ge=32, le=1024)]


class ResizeSettings(Section):
    """Pixels a side."""

    small: ImageSize
    full: ImageSize


def letterbox(image: Image.Image, size: int) -> np.ndarray:
    """The whole image, scaled to fit and centred on a white square: `(size, size, 3) uint8`."""
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    # Bicubic with antialiasing, as ImageNet networks were fed: Pillow's filter, in a quarter of its time.
    scaled = F.interpolate(pixels, size=(height, width), mode="bicubic", antialias=True)[0].permute(1, 2, 0)
    square = _blank(size).copy()
    left, top = (size - width) // 2, (size - height) // 2
    square[top : top + height, left : left + width] = scaled.numpy()
    return square


@functools.cache
def _blank(size: int) -> np.ndarray:
    return np.full((size, size, 3), BACKGROUND, dtype=np.uint8)


def resize_shards(folder: Path, files: list[str], targets: list[tuple[int, Path]]) -> None:
    """Write an array `(N, size, size, 3) uint8` to each of `targets` (size, path); row i is the photo `files[i]`.

    Each photo is decoded once for all sizes. Shards are processed in parallel; the row of each photo is known
    beforehand, so the result does not depend on which worker finishes first.

    Raises ValueError if the shards lack one of the images.
    """
    for size, path in targets:
        allocate(path, (len(files), size, size, 3), np.uint8)
    shards = shard_paths(folder)
    rows_of: list[dict[str, int]] = [{} for _ in shards]
    for row, name in enumerate(files):
        rows_of[shard_of(image_id_of(name), len(shards))][name] = row
    tasks = [(shard, rows, targets) for shard, rows in zip(shards, rows_of, strict=True)]
    written = sum(each_shard(_resize_shard, tasks, "resizing photos"))
    if written != len(files):
        raise ValueError(f"the shards of {folder} have {written} of the {len(files)} images")


def _resize_shard(shard: Path, rows: dict[str, int], targets: list[tuple[int, Path]]) -> int:
    torch.set_num_threads(1)  # there is one process per core
    arrays = [(size, np.load(path, mmap_mode="r+")) for size, path in targets]
    at_least = OVERSAMPLING * max(size for size, _ in targets)
    written = 0
    for name, content in read_shard(shard):
        if name in rows:
            image = decode(content, at_least)
            for size, array in arrays:
                array[rows[name]] = letterbox(image, size)
            written += 1
    return written
