"""The file of a pack: some hundred arrays in the format of `.npy` files, then their keys, then a checksum."""

import logging
import os
from pathlib import Path

import numpy as np

from marketplace.common.files import SEAL_BYTES, is_sealed, replacing, seal, write_array

log = logging.getLogger(__name__)

KEY = np.dtype("S32")  # 128 bits in hex
COUNT_BYTES = 8  # of the number of keys


def write_pack(path: Path, keys: np.ndarray, values: np.ndarray) -> None:
    """Write arrays, `values` `(n, ...)`, under their `keys` `(n,)`. Raises OSError and leaves no file behind."""
    with replacing(path, shared=True) as part:
        with part.open("wb") as file:
            write_array(file, values)
            file.write(keys.astype(KEY).tobytes() + len(keys).to_bytes(COUNT_BYTES))
        seal(part)


def read_keys(path: Path) -> np.ndarray:
    """Return the keys `(n,)` of a pack, without checking its arrays. A pack that was cut has none, and is deleted."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END) - SEAL_BYTES - COUNT_BYTES
            file.seek(max(0, end))
            count = int.from_bytes(file.read(COUNT_BYTES))
            start = end - count * KEY.itemsize
            if start >= 0:
                file.seek(start)
                return np.frombuffer(file.read(end - start), KEY)
    except FileNotFoundError:  # another experiment needed the room
        return np.empty(0, KEY)
    _delete_damaged(path)
    return np.empty(0, KEY)


def open_pack(path: Path) -> np.ndarray | None:
    """Return a pack's arrays `(n, ...)`, memory-mapped; None if it is gone, or damaged and so deleted."""
    try:
        if is_sealed(path):
            os.utime(path)  # it was used now
            return np.load(path, mmap_mode="r")
        _delete_damaged(path)
    except FileNotFoundError:
        pass
    return None


def _delete_damaged(path: Path) -> None:
    log.warning("%s is damaged: its arrays are computed again", path)
    path.unlink(missing_ok=True)
