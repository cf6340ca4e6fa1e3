"""A dump in a local folder: products.csv, images.csv and images/."""

import logging
from collections.abc import Iterator
from pathlib import Path

from marketplace.common.errors import MarketplaceError
from marketplace.common.params import Section

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
            if not (self.folder / name).exists():
                raise MarketplaceError(
                    f"{self.folder / name} is missing: fetch.local.path must name a folder with "
                    "products.csv, images.csv and a folder images/."
                )

    def table(self, name: str) -> bytes:
        """Return the bytes of `products.csv` or `images.csv`."""
        return (self.folder / name).read_bytes()

    def photo_names(self) -> list[str]:
        """Return the names of all files in images/; folders and links in it are left behind, with a warning.

        A link could lead to any file of this machine, which `dvc push` would then share.
        """
        entries = list((self.folder / "images").iterdir())
        names = [entry.name for entry in entries if entry.is_file() and not entry.is_symlink()]
        if len(names) < len(entries):
            log.warning(
                "%d entries of %s are folders or links, and are left behind: copy the files that you want",
                len(entries) - len(names),
                self.folder / "images",
            )
        return names

    def read_photos(self, names: list[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of the named photos, in the order given."""
        for name in names:
            yield name, (self.folder / "images" / name).read_bytes()
