"""Photos packed into tar shards, the unit that is cached, transferred and handed to a worker.

The same photos always give the same bytes: members are sorted, and have no times, owners or modes. A photo's id alone
decides its shard, so one new photo changes one shard. The last member of a shard is its seal, the number and the
checksum of its photos, because tar itself takes a damaged header for the end of the archive.
"""

import hashlib
import mmap
import tarfile
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

from marketplace.common.damage import damage_error
from marketplace.common.errors import MarketplaceError
from marketplace.raw.tables import tidy_id

SEAL_NAME = "./end"  # no photo can have this name: it has a slash
DAMAGE = (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError)  # that a header may lead to
IMAGE_EXTENSIONS = (
    "jpg",
    "jpeg",
    "jpe",
    "jfif",
    "png",
    "webp",
    "avif",
    "heic",
    "heif",
    "hif",
    "gif",
    "bmp",
    "tif",
    "tiff",
)


def image_id_of(name: str) -> str:
    """The image id of a file: its name without folders and an image's extension, whatever its format really is.

    >>> image_id_of("a1.JPG"), image_id_of("a1.v2"), image_id_of("summer/photo 1.jpeg")
    ('a1', 'a1.v2', 'photo 1')
    """
    name = name.rpartition("/")[2]
    stem, _, extension = name.rpartition(".")
    return tidy_id(stem if stem and extension.casefold() in IMAGE_EXTENSIONS else name)


def shard_of(image_id: str, n_shards: int) -> int:
    """The number of a photo's shard: the SHA-256 of its id, modulo the number of shards."""
    return int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8]) % n_shards


def write_shards(files: Iterable[tuple[str, bytes]], folder: Path, n_shards: int) -> None:
    """Pack files, given as (name, content) in ascending order of name, into `folder`/000.tar and so on.

    All shards are written in one pass, with one photo in memory at a time. Raises ValueError if names repeat or are out
    of order, because the bytes would then depend on the order.
    """
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        shards = [_Shard(stack.enter_context((folder / f"{index:03}.tar").open("wb"))) for index in range(n_shards)]
        previous_name = ""
        for name, content in files:
            if name <= previous_name:
                raise ValueError(f"{name!r} came after {previous_name!r}: names must be distinct and ascending")
            previous_name = name
            shards[shard_of(image_id_of(name), n_shards)].add(name, content)
        for shard in shards:
            shard.finish()


class _Shard:
    """A shard that is written: `tarfile` would copy each photo once more, and remember all of them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._seal = _Seal()

    def add(self, name: str, content: bytes) -> None:
        """Write a photo."""
        self._write(name, content)
        self._seal.add(name, content)

    def finish(self) -> None:
        """Write the seal and the end of the archive."""
        self._write(SEAL_NAME, self._seal.line())
        n_end_bytes = 2 * tarfile.BLOCKSIZE
        self._file.write(bytes(n_end_bytes + -(self._file.tell() + n_end_bytes) % tarfile.RECORDSIZE))

    def _write(self, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        self._file.write(member.tobuf(tarfile.PAX_FORMAT))
        self._file.write(content)
        self._file.write(bytes(-len(content) % tarfile.BLOCKSIZE))


def shard_paths(folder: Path) -> list[Path]:
    """Return the shards of a folder in order. Raises MarketplaceError if it has none."""
    paths = sorted(folder.glob("*.tar"))
    if not paths:
        raise MarketplaceError(f"{folder} has no tar shards: run `dvc repro fetch`, or `dvc pull` to get them.")
    return paths


def read_shard(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of every photo in a shard. Raises MarketplaceError if the shard is damaged."""
    seal = _Seal()
    n_bytes = path.stat().st_size
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                if member.size > n_bytes:  # which would be reserved before it is read
                    raise tarfile.ReadError(f"{member.name} has more bytes than the file")
                file = tar.extractfile(member)
                content = file.read() if file is not None else b""
                if member.name == SEAL_NAME:
                    if content != seal.line():
                        raise tarfile.ReadError("its photos are not the ones that were packed")
                    return
                seal.add(member.name, content)
                yield member.name, content
        raise tarfile.ReadError("its end is missing")
    except DAMAGE as error:
        raise damage_error(path, error) from None


class _Extent(NamedTuple):
    """The place of a photo in its shard, in bytes."""

    offset: int
    size: int


class StoredPhotos:
    """Single photos of a folder of shards, for any number of threads. A shard is listed when it is first read from.

    All shards are mapped at the start, so files that replace them later make no difference.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = shard_paths(folder)
        self._shards = [_map_file(path) for path in self._paths]
        self._extents: dict[int, dict[str, _Extent]] = {}  # by shard, then by name
        self._lock = threading.Lock()

    def read(self, shard: int, name: str) -> bytes:
        """Return the bytes of a photo.

        Raises KeyError if the shard does not have it, and MarketplaceError if the shard is missing or damaged.
        """
        if shard >= len(self._shards):
            raise MarketplaceError(f"{self._paths[0].parent} has no shard {shard}: run `dvc repro fetch`.")
        with self._lock:  # a mapped file has one position
            if shard not in self._extents:
                self._extents[shard] = self._list_extents(shard)
        extent = self._extents[shard][name]
        return self._shards[shard][extent.offset : extent.offset + extent.size]

    def _list_extents(self, shard: int) -> dict[str, _Extent]:
        mapped_file: Any = self._shards[shard]
        mapped_file.seek(0)
        try:
            with tarfile.open(fileobj=mapped_file) as tar:
                return {member.name: _Extent(offset=member.offset_data, size=member.size) for member in tar}
        except DAMAGE as error:
            raise damage_error(self._paths[shard], error) from None


def _map_file(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError as error:  # an empty file
        raise damage_error(path, error) from None


class _Seal:
    """The number and the checksum of a shard's photos."""

    def __init__(self) -> None:
        self._n_photos = 0
        self._checksum = 0

    def add(self, name: str, content: bytes) -> None:
        """Add a photo."""
        self._n_photos += 1
        for part in (name.encode(), len(content).to_bytes(8), content):
            self._checksum = zlib.crc32(part, self._checksum)

    def line(self) -> bytes:
        """Return the content of a shard's last member."""
        return f"{self._n_photos} photos, CRC-32 {self._checksum:08x}\n".encode()
