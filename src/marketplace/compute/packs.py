"""Arrays on disk that are found again by a key: what was computed for a photo, wherever it stands now.

A folder per kind of array, shared by all of a user's experiments, holds packs: `.npy` files with some hundred arrays,
then their keys, then a checksum. A pack is written beside its final name and renamed, and named by what determines its
content: two writers cannot disturb each other, and a killed one leaves nothing that is ever read. All folders together
take at most $MARKETPLACE_CACHE_GIB; the packs that were used least recently go first.
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
from marketplace.common.files import is_sealed, release, replacing, seal, user_cache, write_array
from marketplace.compute.recipe import recipe_id

log = logging.getLogger(__name__)

GIB = 2**30
CACHE_GIB = "MARKETPLACE_CACHE_GIB"
DEFAULT_GIB = 20.0
KEY = np.dtype("S32")  # 128 bits in hex
PACK = 512  # arrays: a killed run loses the work on at most as many
COUNT, TRAILER = 8, 12  # bytes of the number of keys, and of a seal
STALE_SECONDS = 24 * 3600

# From positions of keys to the arrays of these keys, in the same order.
Compute = Callable[[np.ndarray], Iterable[np.ndarray]]


def keys_of_files(sha256: Sequence[str]) -> np.ndarray:
    """The keys `(N,)` of files with these SHA-256, in hex."""
    return np.array([text[: KEY.itemsize] for text in sha256], dtype=KEY)


def key_of(array: np.ndarray) -> bytes:
    """The key of an array's content: half of its SHA-256."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()[: KEY.itemsize].encode()


def room_gib() -> float:
    """How much disk space all packs may take. Raises MarketplaceError if $MARKETPLACE_CACHE_GIB is not a number."""
    text = os.environ.get(CACHE_GIB, "").strip()
    try:
        room = float(text or DEFAULT_GIB)
    except ValueError:
        room = -1.0
    if not room >= 0:
        raise MarketplaceError(
            f"${CACHE_GIB} is {text!r}: set it to a number of GiB, such as 20, or 0 to keep nothing."
        )
    return room


@dataclass(frozen=True)
class Lookup:
    """Where the arrays of some keys are: a pack and a place in it for each, and -1 for those that are not stored."""

    keys: np.ndarray  # (N,)
    packs: Sequence[np.ndarray]  # memory-mapped
    pack: np.ndarray  # (N,) int64
    place: np.ndarray  # (N,) int64

    @property
    def missing(self) -> np.ndarray:
        """Which of the keys have no array: `(N,) bool`."""
        return self.pack < 0

    def read(self, rows: np.ndarray) -> np.ndarray:
        """The arrays `(B, ...)` of the keys at the positions `rows` `(B,)`, none of them missing."""
        values = np.empty((len(rows), *self.packs[0].shape[1:]), self.packs[0].dtype)
        packs = self.pack[rows]
        for number in np.unique(packs).tolist():
            places = np.flatnonzero(packs == number)
            values[places] = self.packs[number][self.place[rows[places]]]
            release(self.packs[number])
        return values


class Packs:
    """The packs of one kind of array, made by one recipe (see `recipe.recipe`)."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        self._root = user_cache("packs")
        self._folder = self._root / recipe_id(recipe)

    def find(self, keys: np.ndarray) -> Lookup:
        """Where the arrays of `keys` `(N,)` are. Damaged packs are deleted, with a warning."""
        paths = sorted(self._folder.glob("*.npy"))
        stored = [_keys_of(path) for path in paths]
        pack = np.full(len(keys), -1)
        place = np.zeros(len(keys), dtype=np.int64)
        known = np.concatenate([np.empty(0, KEY), *stored])
        if not len(known):
            return Lookup(keys, [], pack, place)
        order = np.argsort(known, kind="stable")
        nearest = order[np.searchsorted(known, keys, sorter=order).clip(max=len(known) - 1)]
        hits = np.flatnonzero(known[nearest] == keys)
        ends = np.cumsum([len(keys_of_pack) for keys_of_pack in stored])
        holders = np.searchsorted(ends, nearest[hits], side="right")
        arrays: list[np.ndarray] = []
        for number in np.unique(holders).tolist():
            array = _open(paths[number])
            if array is not None:
                rows = hits[holders == number]
                pack[rows] = len(arrays)
                place[rows] = nearest[rows] - (ends[number] - len(stored[number]))
                arrays.append(array)
        return Lookup(keys, arrays, pack, place)

    def fill(self, lookup: Lookup, compute: Compute) -> np.ndarray:
        """Return the arrays `(N, ...)` of a lookup's keys: what is missing is computed, and stored if there is room.

        Results do not depend on what was stored. A run that is killed loses the work on at most a pack. `compute` is
        not called if nothing is missing. Without keys, the result is `np.empty(0)`.
        """
        values: np.ndarray | None = None
        for rows, part in chain(_read_stored(lookup), self._compute_missing(lookup, compute)):
            if values is None:
                values = np.empty((len(lookup.keys), *part.shape[1:]), part.dtype)
            values[rows] = part
        return np.empty(0) if values is None else values

    def _compute_missing(self, lookup: Lookup, compute: Compute) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield positions and arrays pack by pack, once each pack is stored."""
        rows = np.flatnonzero(lookup.missing)
        if not len(rows):
            return
        computed = iter(compute(rows))
        first = next(computed)
        fits = self.make_room(len(rows) * first.nbytes, lookup.keys)
        for some, part in zip(cut(rows, PACK), _stack(chain([first], computed)), strict=True):
            if fits:
                self.write(lookup.keys[some], part)
            yield some, part

    def write(self, keys: np.ndarray, values: np.ndarray) -> bool:
        """Store the arrays `values` `(n, ...)` of `keys` `(n,)` as a pack; if that fails, False, and a warning why."""
        path = self._folder / f"{hashlib.sha256(keys.tobytes()).hexdigest()[:32]}.npy"
        try:
            with replacing(path, shared=True) as part:
                with part.open("wb") as file:
                    write_array(file, values)
                    file.write(keys.astype(KEY).tobytes() + len(keys).to_bytes(COUNT))
                seal(part)
        except OSError as error:
            log.warning("%s cannot be written (%s): it is computed again next time", path, error.strerror)
            return False
        return True

    def make_room(self, nbytes: int, needed: np.ndarray) -> bool:
        """Make room for `nbytes` more by dropping packs, but for those with one of the keys `needed`.

        False, with a warning, if they do not fit.
        """
        room = room_gib() * GIB
        kept = {path for path in self._folder.glob("*.npy") if np.isin(_keys_of(path), needed).any()}
        files = sorted(_files(self._root), key=lambda entry: entry[0])
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total + nbytes <= room and shutil.disk_usage(self._root).free > nbytes:
                return True
            if path not in kept:
                path.unlink(missing_ok=True)  # a reader that has it mapped keeps it until it is done
                total -= size
        fits = total + nbytes <= room
        if fits and shutil.disk_usage(self._root).free > nbytes:
            return True
        if room:
            why = f"${CACHE_GIB} = {room / GIB:g} allows" if not fits else f"the disk of {self._root} holds"
            log.warning(
                "%.1f GiB of what was computed cannot be kept for next time, which is more than %s", nbytes / GIB, why
            )
        return False


def cut(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """Cut an array into pieces of `size` rows; the last may have fewer."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _stack(arrays: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield arrays `(...)` as packs `(n, ...)`."""
    while some := list(islice(arrays, PACK)):
        yield np.stack(some)


def _read_stored(lookup: Lookup) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield positions and arrays of the keys that are not missing, some at a time."""
    for rows in cut(np.flatnonzero(~lookup.missing), PACK):
        yield rows, lookup.read(rows)


def _keys_of(path: Path) -> np.ndarray:
    """The keys `(n,)` of a pack. One that has been cut has none, and is deleted."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END) - TRAILER - COUNT
            file.seek(max(0, end))
            count = int.from_bytes(file.read(COUNT))
            if end - count * KEY.itemsize >= 0:
                file.seek(end - count * KEY.itemsize)
                return np.frombuffer(file.read(count * KEY.itemsize), KEY)
    except FileNotFoundError:  # another experiment needed the room
        return np.empty(0, KEY)
    _drop(path)
    return np.empty(0, KEY)


def _open(path: Path) -> np.ndarray | None:
    """A pack's arrays, memory-mapped; None if it is gone or damaged."""
    try:
        if is_sealed(path):
            os.utime(path)  # least recently used goes first
            return np.load(path, mmap_mode="r")
        _drop(path)
    except FileNotFoundError:
        pass
    return None


def _drop(path: Path) -> None:
    log.warning("%s is damaged: what it held is computed again", path)
    path.unlink(missing_ok=True)


def _files(root: Path) -> Iterator[tuple[float, int, Path]]:
    """(last use, bytes, path) of every stored file; leftovers of killed writers are removed."""
    for path in root.rglob("*"):
        with suppress(FileNotFoundError):  # another experiment may be clearing too
            status = path.stat()
            if path.suffix == ".npy":
                yield status.st_mtime, status.st_size, path
            elif path.is_file() and time.time() - status.st_mtime > STALE_SECONDS:
                path.unlink()
