"""Photos scaled whole onto squares, in one array per shard and size."""

import functools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import Field

from marketplace.cluster.placement import each_shard
from marketplace.common.files import replacing, write_array
from marketplace.common.params import Section
from marketplace.compute.packs import Packs, keys_of_files
from marketplace.compute.recipe import recipe
from marketplace.photos import codec, metadata
from marketplace.photos.codec import BACKGROUND, decode_array
from marketplace.raw.shards import read_shard, shard_paths

log = logging.getLogger(__name__)

# An image that is scaled down by two or more loses nothing visible by being decoded at a smaller size.
OVERSAMPLING = 2
CODE = (__file__, codec.__file__, metadata.__file__)  # that turns a photo into squares

ImageSize = Annotated[int, Field(ge=32, le=1024)]


class ResizeSettings(Section):
    """Pixels a side."""

    small: ImageSize
    full: ImageSize


def letterbox(image: np.ndarray, size: int) -> np.ndarray:
    """The whole image `(H, W, 3) uint8`, scaled to fit and centred on a white square: `(size, size, 3) uint8`."""
    import torch
    from torch.nn import functional as F

    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    # Bicubic with antialiasing, as ImageNet networks were fed: Pillow's filter, in a quarter of its time.
    scaled = F.interpolate(pixels, size=_fitted(image, size), mode="bicubic", antialias=True)[0].permute(1, 2, 0)
    return _centred(scaled.numpy(), size)


def letterbox_of_one(image: np.ndarray, size: int) -> np.ndarray:
    """The same by Pillow, no value being more than two of 255 off: for a question, PyTorch takes seconds to load."""
    height, width = _fitted(image, size)
    return _centred(np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)), size)


def _fitted(image: np.ndarray, size: int) -> tuple[int, int]:
    scale = size / max(image.shape[:2])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return height, width


def _centred(scaled: np.ndarray, size: int) -> np.ndarray:
    square = _blank(size).copy()
    height, width = scaled.shape[:2]
    left, top = (size - width) // 2, (size - height) // 2
    square[top : top + height, left : left + width] = scaled
    return square


@functools.cache
def _blank(size: int) -> np.ndarray:
    return np.full((size, size, 3), BACKGROUND, dtype=np.uint8)


def resize_shards(folder: Path, photos: pd.DataFrame, targets: dict[Path, int]) -> None:
    """Write the squares of photos, shard by shard, to each of the folders `targets`, which have their size as value.

    `photos` has file (the name), shard (ascending: the number of the tar shard that it is in) and sha256. `NNN.npy`
    holds those of shard NNN in that order, `(n, size, size, 3) uint8`. A photo is decoded once for all sizes, and not
    at all if the cache has its squares. A shard has one writer, so the result does not depend on who finishes first.

    Raises ValueError if a shard lacks one of its photos.
    """
    for target in targets:
        target.mkdir(parents=True)
    by_shard = dict(list(photos.groupby("shard")))
    none = photos.iloc[:0]
    tasks = [(path, by_shard.get(number, none), targets) for number, path in enumerate(shard_paths(folder))]
    new = sum(each_shard(_resize_shard, tasks, "resizing photos"))
    log.info("resizing photos: %s of %s are new", f"{new:,}", f"{len(photos):,}")


def _resize_shard(shard: Path, photos: pd.DataFrame, targets: dict[Path, int]) -> int:
    """Write the arrays of one shard; return the number of photos that were decoded."""
    import torch

    torch.set_num_threads(1)  # there is one process per core
    sizes = sorted(set(targets.values()))
    ends = np.cumsum([3 * size**2 for size in sizes])
    in_shard = photos.sort_values("file")  # the order of the shard
    # All sizes together: the largest decides at which size a photo is decoded, and so the bytes of the others.
    packs = Packs(recipe(CODE, ("pillow", "simplejpeg", "torch"), sizes=sizes))
    lookup = packs.find(keys_of_files(in_shard["sha256"].tolist()))
    squares = packs.fill(lookup, lambda rows: _decode(shard, in_shard["file"].iloc[rows].tolist(), sizes))
    if not len(photos):
        squares = np.empty((0, ends[-1]), np.uint8)
    by_size = dict(zip(sizes, np.split(squares, ends[:-1], axis=1), strict=True))
    rows = in_shard.index.get_indexer(photos.index)
    for target, size in targets.items():
        # A worker that is cut off and replaced may still be writing the same.
        with replacing(target / f"{shard.stem}.npy", shared=True) as part, part.open("wb") as file:
            write_array(file, by_size[size][rows].reshape(-1, size, size, 3))
    return int(lookup.missing.sum())


def _decode(shard: Path, names: list[str], sizes: list[int]) -> Iterator[np.ndarray]:
    """Yield the squares of some of a shard's photos: those of all sizes one after another, `(bytes,) uint8`."""
    chosen = set(names)
    decoded = 0
    for name, content in read_shard(shard):
        if name in chosen:
            image = decode_array(content, OVERSAMPLING * max(sizes))
            yield np.concatenate([letterbox(image, size).ravel() for size in sizes])
            decoded += 1
    if decoded != len(names):
        raise ValueError(f"{shard} has {decoded} of {len(names)} photos")
