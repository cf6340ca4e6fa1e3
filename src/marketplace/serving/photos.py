"""The photos that the page shows: the sellers' own, in a few sizes, made when they are first asked for."""

import logging
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from marketplace.common.errors import MarketplaceError
from marketplace.compute.arrays import ShardedArray
from marketplace.photos.codec import UnreadableImageError, decode_array, thumbnail
from marketplace.raw.shards import StoredPhotos
from marketplace.raw.tables import tidy_id

log = logging.getLogger(__name__)

SIZES = (160, 320, 640, 1280)  # pixels of the longer side
KEPT = 2_000  # JPEGs in memory: about 40 MB


class Photos:
    """Photos of the catalogue as JPEGs.

    Where the dump is not on this machine, the squares that the network sees are shown instead, white margins included.
    """

    def __init__(self, root: Path, table: pd.DataFrame) -> None:
        self._sha256 = table["sha256"].to_numpy()
        self._places = list(zip(table["shard"].tolist(), table["file"], strict=True))
        self._squares = ShardedArray(root / "data/resized/full")
        self._row_of = {image_id: row for row, image_id in enumerate(table["image_id"])}
        self._originals: StoredPhotos | None = None
        try:
            self._originals = StoredPhotos(root / "data/raw/images")
        except MarketplaceError as error:
            log.warning("photos are shown as small as the network sees them: %s", error)
        self._jpeg = lru_cache(maxsize=KEPT)(self._made)

    def tag(self, image_id: str, size: int) -> str:
        """The HTTP entity tag of a photo at a size: no other has it. Raises KeyError for an unknown id."""
        source = "o" if self._originals is not None else f"{self._squares.shape[1]}"
        return f'"{self._sha256[self._row_of[tidy_id(image_id)]][:32]}-{source}-{_size(size)}"'

    def jpeg(self, image_id: str, size: int) -> bytes:
        """A photo as a JPEG, its longer side the next of SIZES from `size` on, or its own if that is smaller.

        Raises KeyError for an unknown id.
        """
        return self._jpeg(self._row_of[tidy_id(image_id)], _size(size))

    def _made(self, row: int, size: int) -> bytes:
        return thumbnail(self._pixels(row, size), size)

    def _pixels(self, row: int, size: int) -> np.ndarray:
        if self._originals is not None:
            try:
                return decode_array(self._originals.read(*self._places[row]), min_side=size)
            except (KeyError, MarketplaceError, UnreadableImageError):
                pass  # the dump is another one by now, or damaged
        square: np.ndarray = self._squares[row].copy()
        self._squares.release_pages()  # or the whole catalogue's photos would count as this process's memory
        return square


def _size(wanted: int) -> int:
    return next((size for size in SIZES if size >= wanted), SIZES[-1])
