"""Arrays that may be larger than memory: they are written to unnamed files in blocks, and then mapped.

Whoever reads one in blocks calls `files.release_pages` after each, so that only a block counts as this process's
memory. A file is gone with its array.
"""

import math
import tempfile
from collections.abc import Callable, Iterator

import numpy as np

from marketplace.common.files import release_pages
from marketplace.compute.arrays import RowFile
from marketplace.compute.user_cache import user_cache

ROWS_AT_ONCE = 2**13


class ScratchArray:
    """An array `shape` that is written in any order. Raises OSError if the disk is full."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._shape = shape
        self._dtype = dtype
        self._file = tempfile.TemporaryFile(dir=user_cache("scratch"))  # noqa: SIM115 - as long as its array
        self._rows = RowFile(self._file, shape, dtype)
        self._start = self._file.tell()

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Write the values `(n, ...)` of some rows `(n,)`."""
        ends_of_runs = np.flatnonzero(np.diff(rows) != 1) + 1
        for run in np.split(np.arange(len(rows)), ends_of_runs):
            if len(run):
                self._rows.write(int(rows[run[0]]), values[run[0] : run[-1] + 1])

    def map(self) -> np.ndarray:
        """Return the array, read-only; rows that were not written are zeros."""
        self._file.truncate(self._start + math.prod(self._shape) * self._dtype.itemsize)
        self._file.flush()
        if not math.prod(self._shape):
            return np.empty(self._shape, self._dtype)
        return np.asarray(np.memmap(self._file, self._dtype, mode="r", offset=self._start, shape=self._shape))


def blocks_of(n_rows: int, at_once: int | None = None) -> Iterator[slice]:
    """Yield the blocks of an array with `n_rows` rows: of ROWS_AT_ONCE each, or of another number."""
    step = at_once or ROWS_AT_ONCE
    for start in range(0, n_rows, step):
        yield slice(start, min(n_rows, start + step))


def compute_in_blocks(compute: Callable[[np.ndarray], np.ndarray], n_rows: int, *sources: np.ndarray) -> np.ndarray:
    """Return the results of `compute` for all rows, `(n_rows, ...)`, mapped; it gives `(m, ...)` for `(m,)` rows.

    The pages of `sources`, which `compute` reads, are released after each block.
    """
    scratch: ScratchArray | None = None
    for block in blocks_of(n_rows):
        rows = np.arange(block.start, block.stop)
        values = compute(rows)
        if scratch is None:
            scratch = ScratchArray((n_rows, *values.shape[1:]), values.dtype)
        scratch.write(rows, values)
        for source in sources:
            release_pages(source)
    return compute(np.arange(0)) if scratch is None else scratch.map()


def take_rows(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return some rows `(m,)` of an array `(N, ...)`: `(m, ...)`, mapped."""
    return compute_in_blocks(lambda places: values[rows[places]], len(rows), values)
