"""The file of a pack: some hundred arrays in the format of `.npy` files, then their keys, then a checksum."""

import os
from pathlib import Path
from typing import IO

import numpy as np

from marketplace.common.files import write_array
from marketplace.compute.user_cache import SEAL_BYTES, drop_damaged, keep, read_kept

KEY = np.dtype("S32")  # 128 bits in hex
COUNT_BYTES = 8  # of the number of keys


def write_pack(path: Path, keys: np.ndarray, values: np.ndarray) -> bool:
    """Write arrays, `values` `(n, ...)`, under their `keys` `(n,)`; return whether that succeeded (see `keep`)."""

    def write(file: IO[bytes]) -> None:
        write_array(file, values)
        file.write(keys.astype(KEY).tobytes() + len(keys).to_bytes(COUNT_BYTES))

    return keep(path, write)


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
    drop_damaged(path)
    return np.empty(0, KEY)


def open_pack(path: Path) -> np.ndarray | None:
    """Return a pack's arrays `(n, ...)`, memory-mapped; None if it is gone, or damaged and so deleted."""
    if read_kept(path) is None:
        return None
    try:
        return np.load(path, mmap_mode="r")
    except FileNotFoundError:  # another experiment has just dropped it
        return None
