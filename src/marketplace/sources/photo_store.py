"""Photos of a remote dump, kept in the user's cache folder: their bytes in append-only files, each with an index.

An index has a line per photo: its offset, the version that its source gave it, its SHA-256. A later line says whether
the photo passed its check; a photo without that line has yet to be checked. A crash can leave a truncated line, bytes
that no line mentions, or a line whose bytes never reached the disk; the next start drops them.
"""

import hashlib
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import BinaryIO, NamedTuple

from marketplace.common.errors import MarketplaceError
from marketplace.raw.shards import image_id_of, shard_of

N_FILES = 64


class Stamp(NamedTuple):
    """The version of a photo at its source: its size in bytes, and a text that changes when its content does."""

    size: int
    version: str


class _Photo(NamedTuple):
    file: int
    offset: int
    stamp: Stamp
    sha256: str


def file_of(name: str) -> int:
    """The number of the file that a photo is stored in."""
    return shard_of(image_id_of(name), N_FILES)


class PhotoStore:
    """Photos by name, with the stamps they had at their source."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._photos: dict[str, _Photo] = {}
        self._unchecked: dict[str, None] = {}  # a set that keeps its order
        self._open: dict[int, tuple[BinaryIO, BinaryIO]] = {}
        for index in sorted(folder.glob("*.index")):
            self._read_index(int(index.stem))

    def __contains__(self, name: str) -> bool:
        return name in self._photos

    def __len__(self) -> int:
        return len(self._photos)

    @property
    def unchecked(self) -> list[str]:
        """The photos that have yet to be checked, of this run or of one that ended before its check."""
        return list(self._unchecked)

    def stamp(self, name: str) -> Stamp | None:
        """The stamp of a stored photo, or None."""
        return self._photos[name].stamp if name in self._photos else None

    def sha256(self, name: str) -> str:
        """The SHA-256 of a stored photo."""
        return self._photos[name].sha256

    def add(self, name: str, stamp: Stamp, content: bytes) -> None:
        """Store a photo, in place of an older version."""
        number = file_of(name)
        photos, index = self._files(number)
        photo = _Photo(number, photos.tell(), stamp, hashlib.sha256(content).hexdigest())
        photos.write(content)
        photos.flush()  # to the operating system, before the line that mentions it: a kill loses one photo
        index.write(json.dumps([name, photo.offset, *stamp, photo.sha256]).encode() + b"\n")
        index.flush()
        self._photos[name] = photo
        self._unchecked[name] = None

    def read(self, name: str) -> bytes:
        """A stored photo. Raises MarketplaceError if its bytes are no longer those that were stored."""
        photo = self._photos[name]
        photos, _ = self._files(photo.file)
        photos.seek(photo.offset)
        content = photos.read(photo.stamp.size)
        photos.seek(0, os.SEEK_END)
        if hashlib.sha256(content).hexdigest() != photo.sha256:
            raise MarketplaceError(f"{photos.name} is damaged: delete it and run the stage again.")
        return content

    def settle(self, verdicts: dict[str, bool]) -> None:
        """Record which photos passed their check; the others are dropped, and will be transferred again."""
        for name, sound in verdicts.items():
            _, index = self._files(self._photos[name].file)
            index.write(json.dumps([name, sound]).encode() + b"\n")
            self._judge(name, sound)
        for _, index in self._open.values():
            index.flush()

    def _judge(self, name: str, sound: bool) -> None:
        self._unchecked.pop(name, None)
        if not sound:
            self._photos.pop(name, None)

    def close(self) -> None:
        """Close the files."""
        for files in self._open.values():
            for file in files:
                file.close()
        self._open.clear()

    def compact(self, listing: dict[str, Stamp]) -> None:
        """Drop what the source no longer has, and rewrite files in which more than half is no longer used."""
        self.settle({name: False for name in self._photos if name not in listing})
        in_use: dict[int, list[str]] = defaultdict(list)
        for name, photo in self._photos.items():
            in_use[photo.file].append(name)
        for path in self._folder.glob("*.photos"):
            names = in_use[int(path.stem)]
            if path.stat().st_size > 2 * sum(self._photos[name].stamp.size for name in names):
                self._rewrite(int(path.stem), names)

    def _rewrite(self, number: int, names: list[str]) -> None:
        photos = [(name, self._photos[name].stamp, self.read(name)) for name in names]
        for file in self._open.pop(number, ()):
            file.close()
        for path in self._paths(number):
            path.unlink()  # a crash from here on costs the transfer of these few, and no more
        checked = [name for name in names if name not in self._unchecked]
        for photo in photos:
            self.add(*photo)
        self.settle(dict.fromkeys(checked, True))

    def _paths(self, number: int) -> tuple[Path, Path]:
        return self._folder / f"{number:03}.photos", self._folder / f"{number:03}.index"

    def _files(self, number: int) -> tuple[BinaryIO, BinaryIO]:
        if number not in self._open:
            photos, index = (path.open("a+b") for path in self._paths(number))
            photos.seek(0, os.SEEK_END)
            self._open[number] = photos, index
        return self._open[number]

    def _read_index(self, number: int) -> None:
        """Read the photos of one file, and cut off what a crash left after them."""
        photos_path, index_path = self._paths(number)
        there = photos_path.stat().st_size if photos_path.exists() else 0
        end = index_end = 0
        for line in index_path.read_bytes().splitlines(keepends=True):
            try:
                name, *facts = json.loads(line)
                if not line.endswith(b"\n"):
                    break
                if len(facts) == 1:
                    self._judge(name, facts[0])
                else:
                    offset, size, version, sha256 = facts
                    if offset + size > there:
                        break
                    self._photos[name] = _Photo(number, offset, Stamp(size, version), sha256)
                    self._unchecked[name] = None
                    end = offset + size
            except (ValueError, TypeError):
                break
            index_end += len(line)
        os.truncate(index_path, index_end)
        if there > end:
            os.truncate(photos_path, end)
