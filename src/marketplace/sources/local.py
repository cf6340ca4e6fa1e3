"""A dump in a local folder: products.csv, images.csv and images/."""

import logging
from collections.abc import Iterator
from pathlib import Path

from marketplace.common.errors import MarketplaceError
from marketplace.common.params import Section
from marketplace.sources.bounds import MAX_PHOTO_BYTES, format_size, read_up_to
from marketplace.sources.listing import Listing
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
        for name in ("products.csv", "images.csv", "images"):
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
        """Return the names of all files in images/; folders and links in it are left behind, with a warning.

        A link could lead to any file of this machine, which `dvc push` would then share.
        """
        entries = list((self.folder / "images").iterdir())
        files = [entry for entry in entries if entry.is_file() and not entry.is_symlink()]
        if len(files) < len(entries):
            log.warning(
                "%d entries of %s are folders or links, and are left behind: copy the files that you want",
                len(entries) - len(files),
                self.folder / "images",
            )
        listing = Listing()
        for file in files:
            listing.add(file.name, Stamp(size=file.stat().st_size, version=""))
        listing.warn_of_others()
        return list(listing.photos)

    def read_photos(self, names: list[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of the named photos, in the order given.

        Photos that have vanished in the meantime are left out, as are those that cannot be read, with a warning.
        """
        unreadable = []
        for name in names:
            try:
                with (self.folder / "images" / name).open("rb") as file:
                    content = read_up_to(file.read, MAX_PHOTO_BYTES)
            except FileNotFoundError:
                continue
            except PermissionError:
                unreadable.append(name)
                continue
            yield name, content
        if unreadable:
            log.warning("%d photos cannot be read and are left out, such as %r", len(unreadable), unreadable[0])

    def _check(self, path: Path) -> None:
        """Raise MarketplaceError if a part of the dump is missing, of the wrong kind, or a link out of the dump."""
        is_folder = path.name == "images"
        if not path.exists():
            raise MarketplaceError(
                f"{path} is missing: fetch.local.path must name a folder with products.csv, images.csv and a folder "
                "images/."
            )
        if not (path.is_dir() if is_folder else path.is_file()):
            raise MarketplaceError(f"{path} is not a {'folder' if is_folder else 'file'}.")
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise MarketplaceError(
                f"{path} is a link that leads out of the dump, to {path.resolve()}, and is not followed: `dvc push` "
                "would share what is there. Copy it into the dump."
            )
