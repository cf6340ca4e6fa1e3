"""Photos scaled whole onto squares, in one array per shard and size."""

import functools
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from PIL import Image
from pydantic import Field
from torch.nn import functional as F

from marketplace.common.files import replacing
from marketplace.common.params import Section
from marketplace.photos.codec import BACKGROUND, decode
from marketplace.raw.parallel import each_shard
from marketplace.raw.shards import read_shard, shard_paths

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


def resize_shards(folder: Path, files: "pd.Series[str]", shards: "pd.Series[int]", targets: dict[Path, int]) -> None:
    """Write the squares of photos, shard by shard, to each of the folders `targets`, which have their size as value.

    `files` are the photos' names, and `shards` (ascending) the number of the tar shard that each is in. `NNN.npy` holds
    those of shard NNN in that order, `(n, size, size, 3) uint8`. A photo is decoded once for all sizes, and a shard has
    one writer, so the result does not depend on which worker finishes first.

    Raises ValueError if a shard lacks one of its photos.
    """
    for target in targets:
        target.mkdir(parents=True)
    by_shard = dict(list(files.groupby(shards)))
    tasks = [
        (path, by_shard[number].tolist() if number in by_shard else [], targets)
        for number, path in enumerate(shard_paths(folder))
    ]
    for _ in each_shard(_resize_shard, tasks, "resizing photos"):
        pass


def _resize_shard(shard: Path, files: list[str], targets: dict[Path, int]) -> None:
    torch.set_num_threads(1)  # there is one process per core
    row_of = {name: row for row, name in enumerate(files)}
    at_least = OVERSAMPLING * max(targets.values())
    arrays = {target: np.empty((len(files), size, size, 3), np.uint8) for target, size in targets.items()}
    written = 0
    for name, content in read_shard(shard):
        if name in row_of:
            image = decode(content, at_least)
            for target, size in targets.items():
                arrays[target][row_of[name]] = letterbox(image, size)
            written += 1
    if written != len(files):
        raise ValueError(f"{shard} has {written} of the {len(files)} photos")
    for target, array in arrays.items():
        with replacing(target / f"{shard.stem}.npy") as part, part.open("wb") as file:
            np.save(file, array)
