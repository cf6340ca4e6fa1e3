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

from marketplace.cluster.placement import map_shards
from marketplace.common.files import replacing, write_array
from marketplace.common.params import Section
from marketplace.compute.packs import Packs, keys_of_files
from marketplace.compute.recipe import recipe
from marketplace.photos import codec
from marketplace.photos.codec import BACKGROUND, decode_array
from marketplace.raw.shards import read_shard, shard_paths

log = logging.getLogger(__name__)

# An image that is scaled down by two or more loses nothing visible by being decoded at a smaller size.
OVERSAMPLING = 2
CODE = (__file__, *codec.CODE)  # that turns a photo into squares

ImageSize = Annotated[int, Field(ge=32, le=1024)]


class ResizeSettings(Section):
    """Pixels a side."""

    small: ImageSize
    full: ImageSize


def letterbox(image: np.ndarray, size: int) -> np.ndarray:
    """Scale the whole image `(H, W, 3) uint8` to fit and centre it on a white square: `(size, size, 3) uint8`."""
    import torch
    from torch.nn import functional as F

    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    # Bicubic with antialiasing, as ImageNet networks were fed: Pillow's filter, in a quarter of its time.
    scaled = F.interpolate(pixels, size=_fit(image, size), mode="bicubic", antialias=True)[0].permute(1, 2, 0)
    return _centre(scaled.numpy(), size)


def letterbox_without_torch(image: np.ndarray, size: int) -> np.ndarray:
    """Letterbox with Pillow, no value more than two of 255 off: for a single photo, loading PyTorch takes seconds."""
    height, width = _fit(image, size)
    return _centre(np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)), size)


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

    `photos` has file (the name), shard (ascending: the number of the tar shard that it is in) and sha256. `NNN.npy`
    holds the squares of shard NNN in that order, `(n, size, size, 3) uint8`. A photo is decoded once for all sizes, and
    not at all if the cache has its squares. A shard has one writer, so the result does not depend on who finishes
    first.

    Raises ValueError if a shard lacks one of its photos.
    """
    for target in targets:
        target.mkdir(parents=True)
    photos_by_shard = dict(list(photos.groupby("shard")))
    no_photos = photos.iloc[:0]
    tasks = [(path, photos_by_shard.get(number, no_photos), targets) for number, path in enumerate(shard_paths(folder))]
    n_new = sum(map_shards(_resize_shard, tasks, "resizing photos"))
    log.info("resizing photos: %s of %s are new", f"{n_new:,}", f"{len(photos):,}")


def _resize_shard(shard: Path, photos: pd.DataFrame, targets: dict[Path, int]) -> int:
    """Write the arrays of one shard; return the number of photos that were decoded."""
    import torch

    torch.set_num_threads(1)  # there is one process per core
    sizes = sorted(set(targets.values()))
    ends = np.cumsum([3 * size**2 for size in sizes])
    in_shard = photos.sort_values("file")  # the order of the shard
    # All sizes together: the largest decides at which size a photo is decoded, and so the bytes of the others.
    packs = Packs(recipe(CODE, (*codec.PACKAGES, "torch"), sizes=sizes))
    lookup = packs.find(keys_of_files(in_shard["sha256"].tolist()))
    squares = packs.fill(lookup, lambda rows: _decode(shard, in_shard["file"].iloc[rows].tolist(), sizes))
    if not len(photos):
        squares = np.empty((0, ends[-1]), np.uint8)
    squares_by_size = dict(zip(sizes, np.split(squares, ends[:-1], axis=1), strict=True))
    rows = in_shard.index.get_indexer(photos.index)
    for target, size in targets.items():
        # Another worker may still be writing the same file, if it was cut off and replaced.
        with replacing(target / f"{shard.stem}.npy", shared=True) as part, part.open("wb") as file:
            write_array(file, squares_by_size[size][rows].reshape(-1, size, size, 3))
    return int(lookup.missing.sum())


def _decode(shard: Path, names: list[str], sizes: list[int]) -> Iterator[np.ndarray]:
    """Yield each photo's squares, all sizes one after another, `(bytes,) uint8`; `names` are in the shard's order."""
    chosen = set(names)
    n_decoded = 0
    for name, content in read_shard(shard):
        if name in chosen:
            image = decode_array(content, OVERSAMPLING * max(sizes))
            yield np.concatenate([letterbox(image, size).ravel() for size in sizes])
            n_decoded += 1
    if n_decoded != len(names):
        raise ValueError(f"{shard} has {n_decoded} of {len(names)} photos")
