"""The user's cache: results that can be computed again, outside the repository, for all of a user's experiments.

`keep` seals every file that it writes, and `read_kept` checks the seal of every file that it reads, so damage is never
taken for a result. Fetched photos are the exception: their database has a SHA-256 of each.
"""

import atexit
import functools
import logging
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np
import platformdirs

from marketplace.common.files import remove, replacing

log = logging.getLogger(__name__)

CACHE_VARIABLE = "MARKETPLACE_CACHE"
ROOM_VARIABLE = "MARKETPLACE_CACHE_GIB"  # for packs, which take most of it
MORE_ROOM = f"free some space there, lower ${ROOM_VARIABLE}, or name another folder in ${CACHE_VARIABLE}"
UNUSED_SECONDS = 14 * 24 * 3600  # after which `remove_unused` deletes a file
SEAL = b"CRC-32: "
SEAL_BYTES = len(SEAL) + 4  # at the end of a kept file
READ_BYTES = 2**24  # of a file in memory at once


def user_cache(name: str) -> Path:
    """Return a folder of the cache, which is in $MARKETPLACE_CACHE or where the system keeps a user's caches.

    If that cannot be written to, the folder is a temporary one, with a warning.
    """
    folder = Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("marketplace")) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        usable = os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        usable = False
    return folder if usable else _temporary_cache(folder)


@functools.cache
def _temporary_cache(unusable: Path) -> Path:
    """Return a folder to use instead of one that cannot be written to; it is deleted when this process ends."""
    log.warning("the cache %s cannot be written to: going on without it. You can %s.", unusable, MORE_ROOM)
    folder = Path(tempfile.mkdtemp(prefix="marketplace-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def keep(path: Path, write: Callable[[IO[bytes]], object], *, loss: str = "it is computed again next time") -> bool:
    """Write a file of the cache and seal it; other processes may write the same one.

    Return whether that succeeded; if not, nothing is left, and a warning says why and names the `loss`.
    """
    try:
        with replacing(path, shared=True) as part:
            with part.open("wb") as file:
                write(file)
            _seal(part)
    except OSError as error:
        _warn_once(path.parent, error.strerror, loss)
        return False
    return True


@functools.cache
def _warn_once(folder: Path, reason: str, loss: str) -> None:
    log.warning("the cache %s cannot hold more (%s): %s. You can %s.", folder, reason, loss, MORE_ROOM)


def read_kept(path: Path) -> memoryview | None:
    """Return the content of a file that `keep` wrote, memory-mapped; None if there is none.

    A damaged file is deleted, with a warning. The whole file is read, at 1 to 3 GB/s.
    """
    try:
        if _is_sealed(path):
            with suppress(OSError):  # another user's, or on a full disk
                os.utime(path)  # it was used now
            return np.memmap(path, np.uint8, "r").data[:-SEAL_BYTES]
        drop_damaged(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("%s cannot be read (%s): it is computed again", path, error.strerror)
    return None


def write_once(path: Path, kept: Path, write: Callable[[Path], object]) -> None:
    """Write a file with `write(path)`, and keep a copy at `kept` in the cache; if there is one, copy it instead."""
    content = read_kept(kept)
    if content is not None:
        path.write_bytes(content)
        return
    write(path)
    remove_unused(kept.parent)
    keep(kept, lambda file: file.write(path.read_bytes()))


def drop_damaged(path: Path) -> None:
    """Delete a file of the cache that is damaged, with a warning."""
    log.warning("%s is damaged: it is computed again", path)
    path.unlink(missing_ok=True)


def remove_unused(folder: Path) -> None:
    """Delete the files and folders in a folder that were neither written nor used for two weeks."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process may be clearing the folder too
            if time.time() - path.stat().st_mtime > UNUSED_SECONDS:
                remove(path)


def _seal(path: Path) -> None:
    """Append a checksum to a file that is complete; readers of `.npy` files ignore it."""
    checksum = _checksum(path, path.stat().st_size)
    with path.open("ab") as file:
        file.write(SEAL + checksum.to_bytes(4))


def _is_sealed(path: Path) -> bool:
    """Return whether a file is exactly as `_seal` left it."""
    size = path.stat().st_size - SEAL_BYTES
    if size < 0:
        return False
    with path.open("rb") as file:
        file.seek(size)
        end = file.read()
    return end == SEAL + _checksum(path, size).to_bytes(4)


def _checksum(path: Path, nbytes: int) -> int:
    checksum = 0
    with path.open("rb") as file:
        while nbytes:
            block = file.read(min(nbytes, READ_BYTES))
            if not block:  # another process has just replaced the file by a shorter one
                break
            checksum = zlib.crc32(block, checksum)
            nbytes -= len(block)
    return checksum
