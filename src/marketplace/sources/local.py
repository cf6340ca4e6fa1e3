"""A dump in a local folder: products.csv, images.csv and images/."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from marketplace.common.errors import MarketplaceError
from marketplace.common.params import Section
from marketplace.sources.bounds import MAX_PHOTO_BYTES, format_size, read_up_to
from marketplace.sources.listing import PHOTOS, TABLES, Listing
from marketplace.sources.photo_store import Stamp

log = logging.getLogger(__name__)


class LocalSettings(Section):
    """The folder of a dump on this machine."""

    path: str


class LocalDump:
    """Reads the folder `fetch.local.path`, relative to the repository's root, byte for byte."""

    def __init__(self, settings: LocalSettings) -> None:
        self.folder = Path(settings.path).expanduser()
        if not self.folder.is_dir():
            raise MarketplaceError(
                f"fetch.local.path = {settings.path!r} is not a folder (looked in {self.folder.absolute()})."
            )
        for name in (*TABLES, PHOTOS):
            self._check(self.folder / name)

    def table(self, name: str) -> bytes:
        """Return the bytes of `products.csv` or `images.csv`. Raises MarketplaceError if memory is too small."""
        path = self.folder / name
        try:
            return path.read_bytes()
        except MemoryError:
            raise MarketplaceError(
                f"{path} has {format_size(path.stat().st_size)}, which do not fit into memory: is it the right file?"
            ) from None

    def photo_names(self) -> list[str]:
        """Return the paths of all files in images/ and its subfolders.

        Links are followed within the dump. Others are left behind, with a warning: they could lead to any file of this
        machine, which `dvc push` would then share.
        """
        return list(self._list_photos())

    def list_files(self) -> dict[str, Stamp]:
        """Return the stamps of the tables and of all photos, by path."""
        tables = {name: _read_stamp(self.folder / name) for name in TABLES}
        return tables | {f"{PHOTOS}/{name}": stamp for name, stamp in self._list_photos().items()}

    def read_photos(self, names: list[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of the named photos, in the order given.

        Photos that have vanished in the meantime are left out, as are those that cannot be read, with a warning.
        """
        unreadable = []
        for name in names:
            try:
                with (self.folder / PHOTOS / name).open("rb") as file:
                    content = read_up_to(file.read, MAX_PHOTO_BYTES)
            except FileNotFoundError:
                continue
            except PermissionError:
                unreadable.append(name)
                continue
            yield name, content
        if unreadable:
            log.warning("%d photos cannot be read and are left out, such as %r", len(unreadable), unreadable[0])

    def _list_photos(self) -> dict[str, Stamp]:
        images = self.folder / PHOTOS
        listing = Listing()
        folders = [images]
        seen = {os.path.realpath(images)}
        n_left = 0
        while folders:
            for entry in folders.pop().iterdir():
                target = os.path.realpath(entry)
                if not self._is_inside(target) or not entry.exists():
                    n_left += 1
                elif entry.is_file():
                    listing.add(str(entry.relative_to(images)), _read_stamp(entry))
                elif entry.is_dir() and target not in seen:  # a link may lead to a folder around it
                    seen.add(target)
                    folders.append(entry)
        if n_left:
            log.warning("%d links in %s lead out of the dump or nowhere, and are left behind", n_left, images)
        listing.warn_of_others()
        return listing.photos

    def _check(self, path: Path) -> None:
        """Raise MarketplaceError if a part of the dump is missing, of the wrong kind, or a link out of the dump."""
        is_folder = path.name == PHOTOS
        if not path.exists():
            raise MarketplaceError(
                f"{path} is missing: fetch.local.path must name a folder with products.csv, images.csv and a folder "
                "images/."
            )
        if not (path.is_dir() if is_folder else path.is_file()):
            raise MarketplaceError(f"{path} is not a {'folder' if is_folder else 'file'}.")
        if not self._is_inside(os.path.realpath(path)):
            raise MarketplaceError(
                f"{path} is a link that leads out of the dump, to {path.resolve()}, and is not followed: `dvc push` "
                "would share what is there. Copy it into the dump."
            )

    def _is_inside(self, target: str) -> bool:
        """Return whether a path without links is in the dump."""
        return Path(target).is_relative_to(os.path.realpath(self.folder))


def _read_stamp(path: Path) -> Stamp:
    status = path.stat()
    return Stamp(size=status.st_size, version=str(status.st_mtime_ns))
