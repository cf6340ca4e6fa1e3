"""Arrays that lie in several files, one per shard, and are read as one."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from marketplace.common.damage import damage_error, how_to_heal
from marketplace.common.errors import MarketplaceError
from marketplace.common.files import release_pages


class RowFile:
    """An array that is written row by row, in any order, to a `.npy` file; rows that are not written are zeros.

    Raises OSError if the disk is full, which a mapped file would not: the process would be killed.
    """

    def __init__(self, file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._file = file
        self._row_bytes = math.prod(shape[1:]) * dtype.itemsize
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        self._start = file.tell()

    def write(self, row: int, values: np.ndarray) -> None:
        """Write the values `shape[1:]` of a row, or `(n, *shape[1:])` of it and the rows after it."""
        self._file.seek(self._start + row * self._row_bytes)
        self._file.write(np.ascontiguousarray(values).data)


class ShardedArray:
    """The arrays of a folder's `.npy` files, one after another in the order of their names, memory-mapped.

    Index it along its first axis with a number, a slice or an array of numbers; the result is always a copy.
    Raises MarketplaceError if the folder has no files, a damaged one, or one of another shape or type.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        paths = sorted(folder.glob("*.npy"))
        if not paths:
            raise MarketplaceError(f"{folder} has no arrays: run `dvc repro`, or `dvc pull` to get them.")
        self._shards = [_map(path) for path in paths]
        first = self._shards[0]
        for path, shard in zip(paths, self._shards, strict=True):
            if shard.shape[1:] != first.shape[1:] or shard.dtype != first.dtype:
                raise MarketplaceError(f"{path} does not match {paths[0]}: {how_to_heal(folder)}.")
        self._ends = np.cumsum([len(shard) for shard in self._shards])
        self.shape: tuple[int, ...] = (int(self._ends[-1]), *first.shape[1:])
        self.dtype = first.dtype

    def __reduce__(self) -> tuple[type["ShardedArray"], tuple[Path]]:
        return ShardedArray, (self._folder,)  # another process maps the files itself

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        """The rows, `shape[1:]` for a number and `(B, *shape[1:])` otherwise."""
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        rows = np.atleast_1d(np.asarray(index, dtype=np.int64))
        if len(rows) and not (-len(self) <= rows.min() and rows.max() < len(self)):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)}")
        rows = np.where(rows < 0, rows + len(self), rows)
        numbers = np.searchsorted(self._ends, rows, side="right")
        values = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for number in np.unique(numbers).tolist():
            places = np.flatnonzero(numbers == number)
            shard = self._shards[number]
            values[places] = shard[rows[places] - (self._ends[number] - len(shard))]
        return values if np.ndim(index) else values[0]

    def release_pages(self) -> None:
        """Release the memory of the pages that were read, see `files.release_pages`."""
        for shard in self._shards:
            release_pages(shard)


Images = np.ndarray | ShardedArray  # (N, S, S, 3) uint8


def release_images(images: Images) -> None:
    """Release the memory of images that were read from files."""
    if isinstance(images, ShardedArray):
        images.release_pages()
    else:
        release_pages(images)


def _map(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise damage_error(path, error) from None
