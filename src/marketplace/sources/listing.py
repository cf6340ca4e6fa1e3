"""The parts of a dump, and the listing of its photos, without files that cannot be photos."""

import logging

from marketplace.sources.bounds import MAX_PHOTO_BYTES, format_size
from marketplace.sources.photo_store import Stamp

log = logging.getLogger(__name__)

TABLES = ("products.csv", "images.csv")
PHOTOS = "images"  # the folder
MAX_NAME_BYTES = 255  # in every usual file system
MAX_PATH_BYTES = 4096


class Listing:
    """The stamps of photos by name. Files that cannot be photos are counted, and cost no memory."""

    def __init__(self) -> None:
        self.photos: dict[str, Stamp] = {}
        self._n_unsafe = 0
        self._unsafe_name = ""
        self._n_large = 0
        self._large_file = ""

    def add(self, name: str, stamp: Stamp) -> None:
        """Add a file, unless it cannot be a photo."""
        if not is_safe(name):
            self._n_unsafe += 1
            self._unsafe_name = name[:MAX_NAME_BYTES]
        elif not 0 <= stamp.size <= MAX_PHOTO_BYTES:
            self._n_large += 1
            self._large_file = f"{name!r} ({format_size(stamp.size)})"
        else:
            self.photos[name] = stamp

    def warn_of_others(self) -> None:
        """Log how many files are left behind, and name one of each kind."""
        if self._n_unsafe:
            log.warning(
                "%d files are left behind, since no image id can be named like %r", self._n_unsafe, self._unsafe_name
            )
        if self._n_large:
            log.warning(
                "%d files in images/ are left behind, such as %s: no photo has more than %s",
                self._n_large,
                self._large_file,
                format_size(MAX_PHOTO_BYTES),
            )


def is_safe(name: str) -> bool:
    """True if a file may have this path: below its folder, no control characters, valid Unicode, not too long."""
    if not name.isprintable() or len(name.encode()) > MAX_PATH_BYTES:
        return False
    parts = name.split("/")
    return all(part not in ("", ".", "..") and len(part.encode()) <= MAX_NAME_BYTES for part in parts)
