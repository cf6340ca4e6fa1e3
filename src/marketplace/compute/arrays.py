"""Arrays that lie in several files, one shard each, and are read as one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import release


class ShardedArray:
    """The arrays of a folder's `.npy` files, one after another in the order of their names, memory-mapped.

    It is indexed along its first axis by a number, a slice or an array of numbers, and always gives a copy.
    Raises MarketplaceError if the folder has no files, or one that is damaged or does not go with the others.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        paths = sorted(folder.glob("*.npy"))
        if not paths:
            raise MarketplaceError(f"{folder} has no arrays: run `dvc repro`, or `dvc pull` to get them.")
        self._parts = [_mapped(path) for path in paths]
        first = self._parts[0]
        for path, part in zip(paths, self._parts, strict=True):
            if part.shape[1:] != first.shape[1:] or part.dtype != first.dtype:
                raise MarketplaceError(f"{path} does not go with {paths[0]}: delete {folder} and run `dvc repro`.")
        self._ends = np.cumsum([len(part) for part in self._parts])
        self.shape: tuple[int, ...] = (int(self._ends[-1]), *first.shape[1:])
        self.dtype = first.dtype

    def __reduce__(self) -> tuple[type["ShardedArray"], tuple[Path]]:
        return ShardedArray, (self._folder,)  # another process maps the files itself

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        """The rows, `shape[1:]` for a number and `(B, *shape[1:])` otherwise."""
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        asked = np.atleast_1d(np.asarray(rows, dtype=np.int64))
        if len(asked) and not (-len(self) <= asked.min() and asked.max() < len(self)):
            raise IndexError(f"rows {asked.min()} to {asked.max()} of {len(self)}")
        asked = np.where(asked < 0, asked + len(self), asked)
        shards = np.searchsorted(self._ends, asked, side="right")
        found = np.empty((len(asked), *self.shape[1:]), self.dtype)
        for shard in np.unique(shards).tolist():
            places = np.flatnonzero(shards == shard)
            part = self._parts[shard]
            found[places] = part[asked[places] - (self._ends[shard] - len(part))]
        return found if np.ndim(rows) else found[0]

    def release(self) -> None:
        """Give back the memory of what was read, see `files.release`."""
        for part in self._parts:
            release(part)


Images = np.ndarray | ShardedArray  # (N, S, S, 3) uint8


def released(images: Images) -> None:
    """Give back the memory of what was read from files."""
    if isinstance(images, ShardedArray):
        images.release()
    else:
        release(images)


def _mapped(path: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise MarketplaceError(f"{path} is damaged ({error}): delete it and run `dvc repro resize_images`.") from None
    return array
