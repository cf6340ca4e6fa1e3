"""Files that appear whole or not at all."""

import atexit
import functools
import hashlib
import json
import logging
import mmap
import os
import platform
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import platformdirs

log = logging.getLogger(__name__)
SEAL = b"CRC-32: "
SEALED_BYTES = len(SEAL) + 4  # that `seal` appends
STALE_SECONDS = 14 * 24 * 3600
CACHE = "MARKETPLACE_CACHE"  # the environment variable


def remove(path: Path) -> None:
    """Delete a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_stale(folder: Path) -> None:
    """Delete what lies in a folder and was not written or used for two weeks."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process may be clearing too
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                remove(path)


@contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Yield a path beside `path` to write a file or a folder to; it replaces `path` only if the block succeeds.

    A crash leaves at most `<name>.part`, which the next run replaces. If several processes may write the same file at
    once (`shared`), on whatever machines, each writes its own `<name>.<machine>.<process>.part`.
    """
    part = path.with_name(f"{path.name}.{platform.node()}.{os.getpid()}.part" if shared else f"{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    remove(part)
    try:
        yield part
        if part.is_dir():
            remove(path)  # rename() does not replace a folder that holds something
        part.replace(path)
    except BaseException:
        remove(part)
        raise


def user_cache(name: str) -> Path:
    """A folder outside any repository for what can be computed again: in $MARKETPLACE_CACHE, or the user's cache."""
    folder = Path(os.environ.get(CACHE) or platformdirs.user_cache_dir("marketplace")) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        usable = os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        usable = False
    return folder if usable else _passing_cache(folder)


@functools.cache
def _passing_cache(wanted: Path) -> Path:
    """A folder in place of one that cannot be written to; it is deleted when this process ends."""
    log.warning("the cache %s cannot be written to: going on without it ($MARKETPLACE_CACHE names another)", wanted)
    folder = Path(tempfile.mkdtemp(prefix="marketplace-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON; NaN and infinities raise ValueError, since JSON has none."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_array(file: IO[bytes], array: np.ndarray) -> None:
    """Write an array in the format of `.npy` files. Raises OSError with its number, which `np.save` loses."""
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(np.ascontiguousarray(array).data)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex; of a folder, that of the names and the SHA-256 of its files."""
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file())
        listing = "".join(f"{file.relative_to(path).as_posix()} {sha256_of(file)}\n" for file in inside)
        return hashlib.sha256(listing.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(path: Path) -> None:
    """Append a checksum to a file that is complete; readers of `.npy` files do not see it."""
    checksum = _checksum(path, path.stat().st_size)
    with path.open("ab") as file:
        file.write(SEAL + checksum.to_bytes(4))


def is_sealed(path: Path) -> bool:
    """True if the file is as it was when `seal` was called: whole, with every bit. Reads it at 1 to 3 GB/s."""
    size = path.stat().st_size - SEALED_BYTES
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
            block = file.read(min(nbytes, 2**24))
            checksum = zlib.crc32(block, checksum)
            nbytes -= len(block)
    return checksum


def release(array: np.ndarray) -> None:
    """Give back the pages of a mapped file that were read or written: they would count as this process's memory.

    Nothing is lost: what was read is in the file, and what was written is on its way there.
    """
    if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        array.base.madvise(mmap.MADV_DONTNEED)
