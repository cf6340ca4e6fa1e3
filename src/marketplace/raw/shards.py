"""Photos packed into tar shards, the unit that is cached, transferred and handed to a worker.

The same photos always give the same bytes: members are sorted, and carry no times, owners or modes of their own.
A photo's id alone decides its shard, so one new photo changes one shard. The last member of a shard says how many
photos came before it and what their checksum is: tar itself takes a damaged header for the end of the archive.
"""

import hashlib
import io
import mmap
import tarfile
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from marketplace.common.errors import MarketplaceError
from marketplace.raw.tables import tidy_id

END = "./end"  # no photo can be called so: a slash is in no file's name
EXTENSIONS = ("jpg", "jpeg", "jpe", "jfif", "png", "webp", "avif", "gif", "bmp", "tif", "tiff")


def image_id_of(name: str) -> str:
    """The image id of a file: its name without an image's extension, which need not be that of its format.

    >>> image_id_of("a1.JPG"), image_id_of("a1.v2"), image_id_of("photo 1.jpeg")
    ('a1', 'a1.v2', 'photo 1')
    """
    stem, _, extension = name.rpartition(".")
    return tidy_id(stem if stem and extension.casefold() in EXTENSIONS else name)


def shard_of(image_id: str, n_shards: int) -> int:
    """The shard that a photo belongs to: the SHA-256 of its id, modulo the number of shards."""
    return int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8]) % n_shards


def write_shards(files: Iterable[tuple[str, bytes]], folder: Path, n_shards: int) -> None:
    """Pack files, given as (name, content) in ascending order of name, into `folder`/000.tar and so on.

    All shards are written at once, in one pass, so memory holds one photo at a time.
    Raises ValueError if names repeat or are out of order, since the bytes would then depend on the order.
    """
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        tars = [
            stack.enter_context(tarfile.open(folder / f"{index:03}.tar", "w", format=tarfile.PAX_FORMAT))
            for index in range(n_shards)
        ]
        seals = [_Seal() for _ in tars]
        last = ""
        for name, content in files:
            if name <= last:
                raise ValueError(f"{name!r} came after {last!r}: names must be distinct and ascending")
            last = name
            member = tarfile.TarInfo(name)
            member.size = len(content)
            number = shard_of(image_id_of(name), n_shards)
            tars[number].addfile(member, io.BytesIO(content))
            seals[number].add(name, content)
        for tar, seal in zip(tars, seals, strict=True):
            last_member = tarfile.TarInfo(END)
            last_member.size = len(seal.content)
            tar.addfile(last_member, io.BytesIO(seal.content))


def shard_paths(folder: Path) -> list[Path]:
    """The shards of a folder in order. Raises MarketplaceError if there are none."""
    paths = sorted(folder.glob("*.tar"))
    if not paths:
        raise MarketplaceError(f"{folder} has no tar shards: run `dvc repro fetch`, or `dvc pull` to get them.")
    return paths


def read_shard(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of every photo in a shard. Raises MarketplaceError if the shard is damaged."""
    seal = _Seal()
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                content = file.read() if file is not None else b""
                if member.name == END:
                    if content != seal.content:
                        raise tarfile.ReadError("its photos are not those that were packed")
                    return
                seal.add(member.name, content)
                yield member.name, content
        raise tarfile.ReadError("its end is missing")
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise _damaged(path, error) from None


class StoredPhotos:
    """Single photos of a folder of shards; where each is in its shard is looked up when the first of them is read.

    The files are mapped at once: what replaces them later under the same names makes no difference. Several threads may
    read.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = shard_paths(folder)
        self._shards = [_mapped(path) for path in self._paths]
        self._places: dict[int, dict[str, tuple[int, int]]] = {}  # shard -> name -> offset and size
        self._lock = threading.Lock()

    def read(self, shard: int, name: str) -> bytes:
        """The bytes of a photo.

        Raises KeyError if the shard does not have it, and MarketplaceError if there is no such shard, or it is damaged.
        """
        if shard >= len(self._shards):
            raise MarketplaceError(f"{self._paths[0].parent} has no shard {shard}: run `dvc repro fetch`.")
        with self._lock:  # a mapped file has one position
            if shard not in self._places:
                self._places[shard] = self._listed(shard)
        offset, size = self._places[shard][name]
        return self._shards[shard][offset : offset + size]

    def _listed(self, shard: int) -> dict[str, tuple[int, int]]:
        mapped: Any = self._shards[shard]
        mapped.seek(0)
        try:
            with tarfile.open(fileobj=mapped) as tar:
                return {member.name: (member.offset_data, member.size) for member in tar}
        except tarfile.TarError as error:
            raise _damaged(self._paths[shard], error) from None


def _mapped(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError as error:  # an empty file
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> MarketplaceError:
    return MarketplaceError(
        f"{path} is damaged ({error}): delete it and run `dvc repro fetch`, or `dvc pull` it again."
    )


class _Seal:
    """The count and the checksum of the photos of a shard."""

    def __init__(self) -> None:
        self._count, self._checksum = 0, 0

    def add(self, name: str, content: bytes) -> None:
        """Take another photo into account."""
        self._count += 1
        for part in (name.encode(), len(content).to_bytes(8), content):
            self._checksum = zlib.crc32(part, self._checksum)

    @property
    def content(self) -> bytes:
        """The content of a shard's last member."""
        return f"{self._count} photos, CRC-32 {self._checksum:08x}\n".encode()
