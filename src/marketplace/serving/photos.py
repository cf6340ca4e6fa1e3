"""The photos on the page: the sellers' own, in a few sizes, each rendered when it is first requested."""

import hashlib
import logging
from bisect import bisect_left
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from marketplace.common.errors import MarketplaceError
from marketplace.compute.arrays import ShardedArray
from marketplace.photos.codec import UnreadableImageError, decode_array, thumbnail
from marketplace.raw.shards import StoredPhotos
from marketplace.raw.tables import tidy_id

log = logging.getLogger(__name__)

SIZES = (160, 320, 640, 1280)  # pixels of the longer side
CACHED_JPEGS = 2_000  # in memory: about 40 MB


class CataloguePhotos:
    """The photos of the catalogue as JPEGs.

    `table` is the training data, `originals` the folder of the dump's shards. Where that is not on this machine, or has
    another photo of the same name, the photos are the network's `squares` instead, white margins included.
    """

    def __init__(self, table: pd.DataFrame, originals: Path, squares: ShardedArray) -> None:
        # As they are in memory: strings of Python, and a dictionary of them, would take several times as much.
        self._ids = pa.array(table["image_id"])
        self._order = np.asarray(pc.sort_indices(self._ids))
        self._sha256 = pa.array(table["sha256"])
        self._files = pa.array(table["file"])
        self._shards = table["shard"].to_numpy()
        self._squares = squares
        self._originals: StoredPhotos | None = None
        try:
            self._originals = StoredPhotos(originals)
        except MarketplaceError as error:
            log.warning("photos are shown only as large as the network sees them: %s", error)
        self._render_once = lru_cache(maxsize=CACHED_JPEGS)(self._render)

    def tag(self, image_id: str, size: int) -> str:
        """Return the HTTP entity tag of a photo at a size, which is unique to it. Raises KeyError for an unknown id."""
        sha256 = self._sha256[self._row_of(image_id)].as_py()
        source = "o" if self._originals is not None else f"{self._squares.shape[1]}"
        return f'"{sha256[:32]}-{source}-{_round_up(size)}"'

    def jpeg(self, image_id: str, size: int) -> bytes:
        """Return a photo as a JPEG.

        Its longer side has the next of SIZES from `size` up, or its original size if that is smaller. Raises KeyError
        for an unknown id.
        """
        return self._render_once(self._row_of(image_id), _round_up(size))

    def _row_of(self, image_id: str) -> int:
        """Return a photo's row in the table. Raises KeyError for an unknown id."""
        text = tidy_id(image_id)
        place = bisect_left(self._order, text, key=lambda row: self._ids[row].as_py())
        if place == len(self._order) or self._ids[self._order[place]].as_py() != text:
            raise KeyError(image_id)
        return int(self._order[place])

    def _render(self, row: int, size: int) -> bytes:
        return thumbnail(self._pixels(row, size), size)

    def _pixels(self, row: int, size: int) -> np.ndarray:
        if self._originals is not None:
            try:
                content = self._originals.read(int(self._shards[row]), self._files[row].as_py())
                if hashlib.sha256(content).hexdigest() == self._sha256[row].as_py():
                    return decode_array(content, min_side=size)
            except (KeyError, MarketplaceError, UnreadableImageError):
                pass  # the dump is another one, or is damaged
        square = self._squares[row].copy()
        self._squares.release_pages()  # or the photos of the whole catalogue would count as this process's memory
        return square


def _round_up(size: int) -> int:
    """Return the smallest of SIZES that is at least `size`, or the largest."""
    return next((option for option in SIZES if option >= size), SIZES[-1])
