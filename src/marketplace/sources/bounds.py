"""Bounds of memory and time that hold whatever a source sends; docs/FETCH.md adds them up."""

import io
import time
from collections.abc import Callable

from marketplace.common.errors import MarketplaceError

MAX_TABLE_BYTES = 2**30  # a million products have about half of it
MAX_PHOTOS = 2_000_000  # each takes 1 kB of memory in a fetch
MAX_PHOTO_BYTES = 2**27  # phones write a tenth of it
MAX_AHEAD_BYTES = 2**28  # of photos that are read at once
MIN_BYTES = 1024  # a source that sends fewer in the time for which it may be silent hangs


class Pace:
    """Notices a source that trickles, which a limit of silence alone would let hold a fetch up for months."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waited = 0.0
        self._n_bytes = 0

    def receive(self, receive: Callable[[int], bytes], size: int) -> bytes:
        """Return the bytes that `receive` returns, of which there are `size` at most; none are the end of all.

        Raises TimeoutError if fewer than MIN_BYTES arrived in the time for which the source may be silent.
        """
        begin = time.monotonic()
        content = receive(size)
        self.note(len(content), time.monotonic() - begin)
        return content

    def note(self, n_bytes: int, seconds: float) -> None:
        """Note bytes and the time that they took to arrive; see `receive`."""
        self._n_bytes += n_bytes
        self._waited += seconds
        if self._waited < self._seconds:
            return
        if n_bytes and self._n_bytes < MIN_BYTES:
            raise TimeoutError(f"only {self._n_bytes} bytes in {self._waited:.0f} seconds")
        self._waited = 0.0
        self._n_bytes = 0


def read_up_to(read: Callable[[int], bytes], limit: int) -> bytes:
    """Return all bytes that `read` gives, or the first `limit` + 1 of a longer content."""
    content = io.BytesIO()  # grows in place, unlike a list of parts that are joined
    while content.tell() < limit:
        part = read(min(2**20, limit - content.tell()))
        if not part:
            return content.getvalue()
        content.write(part)
    content.write(read(1))
    return content.getvalue()


def read_table(read: Callable[[int], bytes], table: str) -> bytes:
    """Return the content of a table, with a function that reads at most as many bytes as it is given.

    Raises MarketplaceError if it has more than MAX_TABLE_BYTES.
    """
    content = read_up_to(read, MAX_TABLE_BYTES)
    if len(content) > MAX_TABLE_BYTES:
        raise MarketplaceError(
            f"{table} has more than {format_size(MAX_TABLE_BYTES)}, the most that a fetch takes: is it the right "
            "file? Split the dump if it is."
        )
    return content


def too_many_files_error() -> MarketplaceError:
    """Make the error for a folder of photos with more than MAX_PHOTOS files."""
    return MarketplaceError(
        f"images/ lists more than {MAX_PHOTOS:,} files, the most that a fetch takes: is it the right folder? Split the "
        "dump if it is."
    )


def format_size(n_bytes: int) -> str:
    """Format a number of bytes.

    >>> format_size(2**30), format_size(30_000_000_000), format_size(12)
    ('1.1 GB', '30.0 GB', '12 bytes')
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} bytes"
