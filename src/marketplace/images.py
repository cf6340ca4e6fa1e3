"""Decode whatever a marketplace calls `.jpg`, upright and in three channels, or say why it is no picture."""

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

from marketplace.parallel import in_parallel
from marketplace.shards import read_shard, shard_paths

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


def decode(content: bytes, at_least: int | None = None) -> Image.Image:
    """Decode a file's bytes to an upright RGB picture.

    EXIF orientation is applied; transparency is laid on white; CMYK, greyscale and palettes are converted, 16-bit
    greyscale with its full range. Of an animation the first frame counts. A JPEG is decoded at a half, a quarter or an
    eighth of its size where neither side falls below `at_least` pixels: that takes a fraction of the time.

    Raises UnreadableImageError and nothing else, whatever the bytes are.
    """
    if not content:
        raise UnreadableImageError("empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata in one photo of thousands: nothing a user could act on
        return _decode(content, at_least)


def _decode(content: bytes, at_least: int | None) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise UnreadableImageError("not_an_image") from None
    except Exception:  # Pillow's parsers raise a dozen types on hostile headers
        raise UnreadableImageError("damaged") from None
    if picture.width * picture.height > MAX_PIXELS:
        raise UnreadableImageError("too_large")
    try:
        if at_least is not None:
            picture.draft(None, (at_least, at_least))
        picture.load()
        ImageOps.exif_transpose(picture, in_place=True)
        return _to_rgb(picture)
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
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def thumbnail(square: np.ndarray, size: int) -> bytes:
    """A picture `(S, S, 3) uint8` as a JPEG of at most `size` pixels a side."""
    picture = Image.fromarray(square)
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=84)
    return buffer.getvalue()


def check_shards(folder: Path) -> pd.DataFrame:
    """Open every file of every shard: name, sha256, reason (why it is no sound picture, or empty), ordered by name."""
    rows: list[tuple[str, str, str]] = []
    for checked in each_shard(_check_shard, [(path,) for path in shard_paths(folder)], "checking photos"):
        rows += checked
    return pd.DataFrame(sorted(rows), columns=["name", "sha256", "reason"], dtype=str)


def _check_shard(path: Path) -> list[tuple[str, str, str]]:
    rows = []
    for name, content in read_shard(path):
        reason = ""
        try:
            decode(content, at_least=1)  # every byte is read, at the fewest pixels
        except UnreadableImageError as error:
            reason = error.reason
        rows.append((name, hashlib.sha256(content).hexdigest(), reason))
    return rows


def each_shard(work: Callable[..., Result], tasks: list[tuple[Any, ...]], description: str) -> Iterator[Result]:
    """Yield `work(*task)` of every shard's task, with a progress bar."""
    return iter(tqdm(in_parallel(work, tasks), total=len(tasks), desc=description, unit="shard", mininterval=0.5))
