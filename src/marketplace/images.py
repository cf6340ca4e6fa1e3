"""Decode whatever a marketplace calls `.jpg`, and lay it whole, upright and in three channels on a square."""

import hashlib
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from marketplace.files import allocate
from marketplace.parallel import in_parallel
from marketplace.shards import read_shard, shard_of, shard_paths

# Formats that shops and browsers send; Pillow's others (some start external programs) stay shut.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
MAX_PIXELS = 80_000_000  # 240 MB once decoded; a header can promise any number
BACKGROUND = (255, 255, 255)

Image.MAX_IMAGE_PIXELS = None  # `decode` has its own bound, that rejects instead of warning

Result = TypeVar("Result")


class UnreadableImageError(Exception):
    """A file that holds no sound picture; `reason` is empty, not_an_image, too_large, truncated or damaged."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def decode(content: bytes) -> Image.Image:
    """Decode a file's bytes to an upright RGB picture.

    EXIF orientation is applied; transparency is laid on white; CMYK, greyscale and palettes are converted, 16-bit
    greyscale with its full range. Of an animation the first frame counts.

    Raises UnreadableImageError and nothing else, whatever the bytes are.
    """
    if not content:
        raise UnreadableImageError("empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata in one photo of thousands: nothing a user could act on
        return _decode(content)


def _decode(content: bytes) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise UnreadableImageError("not_an_image") from None
    except Exception:  # Pillow's parsers raise a dozen types on hostile headers
        raise UnreadableImageError("damaged") from None
    if picture.width * picture.height > MAX_PIXELS:
        raise UnreadableImageError("too_large")
    try:
        return _to_rgb(ImageOps.exif_transpose(picture))
    except Exception as error:  # and on hostile bodies
        truncated = isinstance(error, EOFError) or "truncated" in str(error)
        raise UnreadableImageError("truncated" if truncated else "damaged") from None


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        # Pillow's own conversion clips at 255 instead of scaling.
        values = np.asarray(picture).astype(np.int64).clip(0, 65535)
        picture = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, (*BACKGROUND, 255))
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")


def letterbox(picture: Image.Image, size: int) -> np.ndarray:
    """The whole picture, scaled to fit and centred on a white square: `(size, size, 3) uint8`."""
    scale = size / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    square = Image.new("RGB", (size, size), BACKGROUND)
    # Bicubic with antialiasing (Pillow widens the filter when shrinking): the resampling ImageNet networks were fed.
    scaled = picture.resize((width, height), Image.Resampling.BICUBIC)
    square.paste(scaled, ((size - width) // 2, (size - height) // 2))
    return np.asarray(square)


def check_shards(folder: Path) -> pd.DataFrame:
    """Open every file of every shard: name, sha256, reason (why it is no sound picture, or empty), ordered by name."""
    rows: list[tuple[str, str, str]] = []
    for checked in _each_shard(_check_shard, [(path,) for path in shard_paths(folder)], "checking photos"):
        rows += checked
    return pd.DataFrame(sorted(rows), columns=["name", "sha256", "reason"], dtype=str)


def _check_shard(path: Path) -> list[tuple[str, str, str]]:
    rows = []
    for name, content in read_shard(path):
        reason = ""
        try:
            decode(content)
        except UnreadableImageError as error:
            reason = error.reason
        rows.append((name, hashlib.sha256(content).hexdigest(), reason))
    return rows


def resize_shards(folder: Path, image_ids: list[str], targets: list[tuple[int, Path]]) -> None:
    """Write an array `(N, size, size, 3) uint8` to each of `targets` (size, path); row i is `image_ids[i]`.

    Each photo is decoded once for all sizes. Shards are worked on in parallel; which row a photo goes to is known
    beforehand, so the result does not depend on who is done first.

    Raises ValueError when the shards lack one of the images.
    """
    for size, path in targets:
        allocate(path, (len(image_ids), size, size, 3), np.uint8)
    shards = shard_paths(folder)
    rows_of: list[dict[str, int]] = [{} for _ in shards]
    for row, image_id in enumerate(image_ids):
        rows_of[shard_of(image_id, len(shards))][f"{image_id}.jpg"] = row
    tasks = [(shard, rows, targets) for shard, rows in zip(shards, rows_of, strict=True)]
    written = sum(_each_shard(_resize_shard, tasks, "resizing photos"))
    if written != len(image_ids):
        raise ValueError(f"the shards of {folder} hold {written} of the {len(image_ids)} images")


def _resize_shard(shard: Path, rows: dict[str, int], targets: list[tuple[int, Path]]) -> int:
    arrays = [(size, np.load(path, mmap_mode="r+")) for size, path in targets]
    written = 0
    for name, content in read_shard(shard):
        if name in rows:
            picture = decode(content)
            for size, array in arrays:
                array[rows[name]] = letterbox(picture, size)
            written += 1
    return written


def _each_shard(work: Callable[..., Result], tasks: list[tuple[Any, ...]], description: str) -> Iterator[Result]:
    """Yield `work(*task)` of every shard's task, with a progress bar."""
    return iter(tqdm(in_parallel(work, tasks), total=len(tasks), desc=description, unit="shard", mininterval=0.5))
