"""Computed arrays on disk, found again by a key: the hash of the photo or text that they were computed from.

All of a user's experiments share them. There is a folder per recipe (see recipe.py), which holds packs (see
pack_file.py). A pack is written under another name and then renamed, and named after its keys: two writers cannot
disturb each other, and a killed one leaves nothing that is ever read. All folders together take at most
$MARKETPLACE_CACHE_GIB; the packs that were used least recently are dropped first.
"""

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import release_pages
from marketplace.compute.pack_file import KEY, open_pack, read_keys, write_pack
from marketplace.compute.recipe import recipe_id
from marketplace.compute.scratch import ScratchArray
from marketplace.compute.user_cache import MORE_ROOM, ROOM_VARIABLE, user_cache

log = logging.getLogger(__name__)

GIB = 2**30
DEFAULT_ROOM_GIB = 20.0
PACK = 512  # arrays: a killed run loses at most the work on so few
LEFTOVER_SECONDS = 24 * 3600  # after which an unfinished file is no longer being written

# From positions in an array of keys to the arrays of these keys, in the same order.
Compute = Callable[[np.ndarray], Iterable[np.ndarray]]


def keys_of_files(sha256: Sequence[str]) -> np.ndarray:
    """Return the keys `(N,)` of files with these SHA-256, in hex."""
    return np.array([text[: KEY.itemsize] for text in sha256], dtype=KEY)


def key_of(array: np.ndarray) -> bytes:
    """Return the key of an array's content: half of its SHA-256."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()[: KEY.itemsize].encode()


def cut(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """Cut an array into pieces of `size` rows; the last may have fewer."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


@dataclass(frozen=True)
class Lookup:
    """Where the arrays of some keys are."""

    keys: np.ndarray  # (N,)
    packs: Sequence[np.ndarray]  # memory-mapped
    pack: np.ndarray  # (N,) int64, an index into `packs`; -1: not stored
    place: np.ndarray  # (N,) int64, the row in that pack

    @property
    def missing(self) -> np.ndarray:
        """Which of the keys have no stored array: `(N,) bool`."""
        return self.pack < 0

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return the arrays `(B, ...)` of the keys at the positions `rows` `(B,)`, none of them missing."""
        values = np.empty((len(rows), *self.packs[0].shape[1:]), self.packs[0].dtype)
        numbers = self.pack[rows]
        for number in np.unique(numbers).tolist():
            places = np.flatnonzero(numbers == number)
            values[places] = self.packs[number][self.place[rows[places]]]
            release_pages(self.packs[number])
        return values


class Packs:
    """The packs of one recipe."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        self._root = user_cache("packs")
        self._folder = self._root / recipe_id(recipe)

    def find(self, keys: np.ndarray) -> Lookup:
        """Look up the arrays of `keys` `(N,)`. Damaged packs are deleted, with a warning."""
        paths = sorted(self._folder.glob("*.npy"))
        keys_by_pack = [read_keys(path) for path in paths]
        stored = np.concatenate([np.empty(0, KEY), *keys_by_pack])
        pack = np.full(len(keys), -1)
        place = np.zeros(len(keys), dtype=np.int64)
        arrays: list[np.ndarray] = []
        if len(stored):
            order = np.argsort(stored, kind="stable")
            nearest = order[np.searchsorted(stored, keys, sorter=order).clip(max=len(stored) - 1)]
            hits = np.flatnonzero(stored[nearest] == keys)
            ends = np.cumsum([len(keys_of_pack) for keys_of_pack in keys_by_pack])
            numbers = np.searchsorted(ends, nearest[hits], side="right")
            for number in np.unique(numbers).tolist():
                array = open_pack(paths[number])
                if array is not None:
                    rows = hits[numbers == number]
                    pack[rows] = len(arrays)
                    place[rows] = nearest[rows] - (ends[number] - len(keys_by_pack[number]))
                    arrays.append(array)
        return Lookup(keys=keys, packs=arrays, pack=pack, place=place)

    def fill(self, lookup: Lookup, compute: Compute) -> np.ndarray:
        """Return the arrays `(N, ...)` of all keys of a lookup, mapped; without any key, `np.empty(0)`.

        Missing arrays are computed, and stored if there is room; `compute` is not called if there are none. Results
        do not depend on which arrays were stored.
        """
        scratch: ScratchArray | None = None
        for rows, part in chain(_read_stored(lookup), self._compute_missing(lookup, compute)):
            if scratch is None:
                scratch = ScratchArray((len(lookup.keys), *part.shape[1:]), part.dtype)
            scratch.write(rows, part)
        return np.empty(0) if scratch is None else scratch.map()

    def _compute_missing(self, lookup: Lookup, compute: Compute) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield positions `(n,)` and arrays `(n, ...)` pack by pack, each after it was stored."""
        missing = np.flatnonzero(lookup.missing)
        if not len(missing):
            return
        arrays = iter(compute(missing))
        first = next(arrays)
        fits = self.make_room(len(missing) * first.nbytes, lookup.keys)
        for rows, part in zip(cut(missing, PACK), _stack(chain([first], arrays)), strict=True):
            fits = fits and self.write(lookup.keys[rows], part)
            yield rows, part

    def write(self, keys: np.ndarray, values: np.ndarray) -> bool:
        """Store the arrays `values` `(n, ...)` of `keys` `(n,)` as a pack.

        Return whether that succeeded; if not, a warning says why.
        """
        return write_pack(self._folder / f"{hashlib.sha256(keys.tobytes()).hexdigest()[:32]}.npy", keys, values)

    def make_room(self, nbytes: int, needed: np.ndarray) -> bool:
        """Make room for `nbytes` more by dropping packs, except those that hold one of the keys `needed`.

        Return whether they fit; if not, a warning says why.
        """
        room = room_gib() * GIB
        kept = {path for path in self._folder.glob("*.npy") if np.isin(read_keys(path), needed).any()}
        files = sorted(_list_files(self._root), key=lambda entry: entry[0])
        used = sum(size for _, size, _ in files)
        for _, size, path in files:
            if used + nbytes <= room and self._disk_holds(nbytes):
                return True
            if path not in kept:
                path.unlink(missing_ok=True)  # a process that has mapped it can still read it
                used -= size
        fits = used + nbytes <= room
        if fits and self._disk_holds(nbytes):
            return True
        if room:
            limit = f"the disk of {self._root} holds. You can {MORE_ROOM}"
            if not fits:
                limit = f"${ROOM_VARIABLE} = {room / GIB:g} allows in {self._root}"
            log.warning("%.1f GiB of results cannot be kept for next time: that is more than %s.", nbytes / GIB, limit)
        return False

    def _disk_holds(self, nbytes: int) -> bool:
        return shutil.disk_usage(self._root).free > nbytes


def room_gib() -> float:
    """Return how much disk space all packs may take. Raises MarketplaceError if the variable is not a number."""
    text = os.environ.get(ROOM_VARIABLE, "").strip()
    try:
        room = float(text or DEFAULT_ROOM_GIB)
    except ValueError:
        room = -1.0
    if not room >= 0:  # NaN, too
        raise MarketplaceError(
            f"${ROOM_VARIABLE} is {text!r}: set it to a number of GiB, such as 20, or 0 to keep nothing."
        )
    return room


def _read_stored(lookup: Lookup) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield positions `(n,)` and stored arrays `(n, ...)`, some at a time."""
    for rows in cut(np.flatnonzero(~lookup.missing), PACK):
        yield rows, lookup.read(rows)


def _stack(arrays: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield arrays `(...)` as packs `(n, ...)`."""
    while block := list(islice(arrays, PACK)):
        yield np.stack(block)


def _list_files(root: Path) -> Iterator[tuple[float, int, Path]]:
    """Yield (last use, bytes, path) of every pack; delete unfinished files of killed writers."""
    for path in root.rglob("*"):
        with suppress(FileNotFoundError):  # another experiment may be clearing too
            status = path.stat()
            if path.suffix == ".npy":
                yield status.st_mtime, status.st_size, path
            elif path.is_file() and time.time() - status.st_mtime > LEFTOVER_SECONDS:
                path.unlink()
