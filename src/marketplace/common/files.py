"""Files that appear whole or not at all."""

import hashlib
import json
import mmap
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

_FORMULA = re.compile(r"'*\s*[=+\-@＝＋－＠]")  # in Excel, LibreOffice and Google Sheets, some of which drop blanks
_ESCAPED = re.compile(rf"'{_FORMULA.pattern}")


def remove(path: Path) -> None:
    """Delete a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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


def release_pages(array: np.ndarray) -> None:
    """Release the pages of a mapped file that were read or written: they would count as this process's memory.

    `array` is the whole file or a part of it; other arrays stay as they are. Nothing is lost: the file has the pages
    that were read, and the OS writes the others to it.
    """
    owner = array.base
    while isinstance(owner, np.ndarray):  # of a part of an array
        owner = owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)
