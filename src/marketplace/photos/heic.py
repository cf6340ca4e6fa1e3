"""HEIC files, as phones store photos: Pillow learns to open them, and their parts are counted before any is decoded."""

import re

from PIL import Image
from pillow_heif import register_heif_opener

register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)  # the photo itself, and nothing else

# The entry of an image that is put together from others, of which each may be as large as it likes. No phone writes it.
_OVERLAY = re.compile(rb"infe[\x02\x03].{3}(?:.{2}|.{4}).{2}iovl", re.DOTALL)


def has_overlay(content: bytes) -> bool:
    """Return whether a file is a HEIC file that holds an overlay, of which nothing tells how long it takes."""
    return content[4:8] == b"ftyp" and _OVERLAY.search(content) is not None


def count_tile_pixels(image: Image.Image) -> int:
    """Return how many pixels the tiles of a HEIC file have together, often more than it shows; 0 if it has none."""
    tiles = image.info.get("tiling") if image.format == "HEIF" else None
    return tiles["num_columns"] * tiles["num_rows"] * tiles["tile_width"] * tiles["tile_height"] if tiles else 0
