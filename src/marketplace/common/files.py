"""Files that appear whole or not at all."""

import atexit
import functools
import hashlib
import json
import logging
import mmap
import os
import platform
import re
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

CACHE_VARIABLE = "MARKETPLACE_CACHE"
UNUSED_SECONDS = 14 * 24 * 3600  # after which `remove_unused` deletes a file
SEAL = b"CRC-32: "
SEAL_BYTES = len(SEAL) + 4  # that `seal` appends
READ_BYTES = 2**24  # of a file in memory at once
_FORMULA = re.compile(r"'*\s*[=+\-@＝＋－＠]")  # in Excel, LibreOffice and Google Sheets, some of which drop blanks
_ESCAPED = re.compile(rf"'{_FORMULA.pattern}")


def remove(path: Path) -> None:
    """Delete a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_unused(folder: Path) -> None:
    """Delete the files and folders in a folder that were neither written nor used for two weeks."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process may be clearing the folder too
            if time.time() - path.stat().st_mtime > UNUSED_SECONDS:
                remove(path)


@contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Yield a path next to `path` to write a file or a folder to; it replaces `path` only if the block succeeds.

    A crash leaves at most `<name>.part`, which the next run replaces. If several processes may write the same file at
    once (`shared`), on any machines, each writes its own `<name>.<machine>.<process>.part`.
    """
    part = path.with_name(f"{path.name}.{platform.node()}.{os.getpid()}.part" if shared else f"{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    remove(part)
    try:
        yield part
        if part.is_dir():
            remove(path)  # rename() does not replace a folder that is not empty
        part.replace(path)
    except BaseException:
        remove(part)
        raise


def user_cache(name: str) -> Path:
    """Return a folder for results that can be computed again, in $MARKETPLACE_CACHE or the user's cache.

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
    log.warning("the cache %s cannot be written to: going on without it ($MARKETPLACE_CACHE names another)", unusable)
    folder = Path(tempfile.mkdtemp(prefix="marketplace-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON; NaN and infinities raise ValueError, since JSON has none."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def escape_formula(text: str) -> str:
    """Return a text with an apostrophe before it if a spreadsheet would take it for a formula.

    >>> escape_formula("=1+1"), escape_formula("'=1+1"), escape_formula("a=1"), escape_formula("'t Gooi")
    ("'=1+1", "''=1+1", 'a=1', "'t Gooi")
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_formula(text: str) -> str:
    """Return the text that `escape_formula` was given.

    >>> unescape_formula("'=1+1"), unescape_formula("=1+1"), unescape_formula("'t Gooi")
    ('=1+1', '=1+1', "'t Gooi")
    """
    return text[1:] if _ESCAPED.match(text) else text


def write_array(file: IO[bytes], array: np.ndarray) -> None:
    """Write an array in the format of `.npy` files. Raises OSError with its number, which `np.save` loses."""
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(np.ascontiguousarray(array).data)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex; for a folder, the SHA-256 of its files' names and hashes."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        listing = "".join(f"{file.relative_to(path).as_posix()} {sha256_of(file)}\n" for file in files)
        return hashlib.sha256(listing.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(path: Path) -> None:
    """Append a checksum to a file that is complete; readers of `.npy` files ignore it."""
    checksum = _checksum(path, path.stat().st_size)
    with path.open("ab") as file:
        file.write(SEAL + checksum.to_bytes(4))


def is_sealed(path: Path) -> bool:
    """Return whether a file is exactly as `seal` left it. The whole file is read, at 1 to 3 GB/s."""
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
            checksum = zlib.crc32(block, checksum)
            nbytes -= len(block)
    return checksum


def release_pages(array: np.ndarray) -> None:
    """Release the pages of a mapped file that were read or written: they would count as this process's memory.

    Nothing is lost: the file has the pages that were read, and the OS writes the others to it.
    """
    if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        array.base.madvise(mmap.MADV_DONTNEED)
