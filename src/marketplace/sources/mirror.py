"""A local mirror of a remote dump's photos: photos that are here, whole and unchanged, are not transferred again."""

import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from filelock import FileLock, Timeout

from marketplace.common.console import DISK_FULL_ERRORS
from marketplace.common.errors import MarketplaceError
from marketplace.common.progress import progress_bar
from marketplace.compute.user_cache import MORE_ROOM, user_cache
from marketplace.sources.bounds import MAX_PHOTOS, too_many_files_error
from marketplace.sources.listing import PHOTOS, Listing
from marketplace.sources.photo_store import PhotoStore, Stamp

if TYPE_CHECKING:
    from tqdm import tqdm

log = logging.getLogger(__name__)

MAX_ROUNDS = 5
MEMORY_BYTES = 2**28  # of photos at once, if the cache cannot hold them
RETRY_PAUSES = (1.0, 2.0, 4.0)  # seconds before each retry; they start over once anything has arrived

Result = TypeVar("Result")


class RemoteInterrupted(Exception):  # noqa: N818  # an event, not an error that somebody made
    """The connection broke, stalled or was refused: trying again may help."""


class Remote(Protocol):
    """A dump on another machine. Every method may raise RemoteInterrupted, and is then called again."""

    @property
    def identity(self) -> str:
        """A text that is different for every dump."""

    def table(self, name: str) -> bytes:
        """Return the bytes of `products.csv` or `images.csv`."""

    def list_tables(self) -> Iterator[tuple[str, Stamp]]:
        """Yield the name and the stamp of each table."""

    def list_photos(self) -> Iterator[tuple[str, Stamp]]:
        """Yield the name and the stamp of every file in the folder of photos."""

    def read_photos(self, stamps: dict[str, Stamp]) -> Iterator[tuple[str, bytes | None]]:
        """Yield (name, content) of photos in any order; those that vanished or changed may be left out.

        The content is None if the photo is not readable.
        """

    def checksums(self, names: list[str]) -> dict[str, str] | None:
        """Return the SHA-256 of photos as the remote machine computes them; None if it cannot compute any."""


class Mirror:
    """A Dump (see `marketplace.sources.dump`) that copies photos of a Remote here, but only new and changed ones."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._folder_name = hashlib.sha256(remote.identity.encode()).hexdigest()[:32]
        self._listing: dict[str, Stamp] = {}
        self._unreadable: set[str] = set()

    def table(self, name: str) -> bytes:
        """Return the bytes of `products.csv` or `images.csv`."""
        return _retry(lambda: self._remote.table(name))

    def photo_names(self) -> list[str]:
        """Return the names of all photos that are there now, except names that are not safe here."""
        self._listing = self._list_photos()
        return list(self._listing)

    def list_files(self) -> dict[str, Stamp]:
        """Return the stamps of the tables and of all photos, by path.

        Raises MarketplaceError if the source cannot be listed at the first attempt.
        """
        try:
            stamps = dict(self._remote.list_tables())
            photos = _collect(self._remote.list_photos())
        except RemoteInterrupted as error:
            raise MarketplaceError(f"{error}.") from None
        return stamps | {f"{PHOTOS}/{name}": stamp for name, stamp in photos.items()}

    def read_photos(self, names: list[str]) -> Iterator[tuple[str, bytes]]:
        """Transfer missing photos, then yield (name, content) of the named photos in the order given.

        Photos that have vanished in the meantime are left out. If the cache is full, photos pass through memory.
        """
        folder = user_cache("dumps") / self._folder_name
        with contextlib.ExitStack() as stack:
            try:
                store = stack.enter_context(_open_store(folder))
                self._sync(store, names)
            except OSError as error:
                if error.errno not in DISK_FULL_ERRORS:
                    raise
                log.warning("the cache %s is full: photos are not kept. You can %s.", folder, MORE_ROOM)
            else:
                self._warn_of_unreadable(names)
                yield from self._read(store, names)
                return
        for some_names in self._cut(names):
            with contextlib.closing(PhotoStore(None)) as store:
                self._sync(store, some_names)
                yield from self._read(store, some_names)
        self._warn_of_unreadable(names)

    def _read(self, store: PhotoStore, names: list[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of the named photos, which are in the store if they can be read."""
        for name in names:
            if name in self._listing and name not in self._unreadable:
                yield name, store.read(name)

    def _cut(self, names: list[str]) -> Iterator[list[str]]:
        """Yield the names in parts, whose photos have at most MEMORY_BYTES together."""
        part: list[str] = []
        n_bytes = 0
        for name in names:
            size = self._listing[name].size if name in self._listing else 0
            if part and n_bytes + size > MEMORY_BYTES:
                yield part
                part = []
                n_bytes = 0
            part.append(name)
            n_bytes += size
        yield part

    def _list_photos(self) -> dict[str, Stamp]:
        return _retry(lambda: _collect(self._remote.list_photos()))

    def _sync(self, store: PhotoStore, names: list[str]) -> None:
        """Transfer photos until the store has them as in the newest listing, which each round takes again."""
        self._check(store)  # photos of a run that ended before its check
        missing = self._find_missing(store, names)
        n_bytes = sum(stamp.size for stamp in missing.values())
        listing_before = self._listing
        progress = progress_bar(total=n_bytes, description="transferring", unit="B", show=bool(missing), scale=True)
        with progress:
            for _ in range(MAX_ROUNDS):
                if not missing:
                    break
                self._transfer(missing, store, progress)
                self._check(store)
                listing_before = self._listing
                self._listing = self._list_photos()
                missing_before = missing
                missing = self._find_missing(store, names)
                if missing == missing_before:
                    break  # no photo came that could be kept, and nothing has changed
        is_changing = all(listing_before.get(name) != stamp for name, stamp in missing.items())
        if missing and is_changing and len(missing) < len(self._listing):
            self._leave_out(missing.keys())
        elif missing:
            name, stamp = next(iter(missing.items()))
            raise MarketplaceError(
                f"{len(missing)} photos do not arrive as listed, such as {name!r} ({stamp.size} bytes): they are "
                "damaged on the way, cannot be read there, or keep changing. Photos that did arrive are kept: correct "
                "this and run the stage again."
            )
        store.drop(store.stamps().keys() - self._listing.keys())

    def _find_missing(self, store: PhotoStore, names: list[str]) -> dict[str, Stamp]:
        """Return the stamps of readable photos that the store does not have as they are listed."""
        stored = store.stamps()
        listing = {name: self._listing[name] for name in names if name in self._listing}
        return {
            name: stamp for name, stamp in listing.items() if name not in self._unreadable and stored.get(name) != stamp
        }

    def _transfer(self, missing: dict[str, Stamp], store: PhotoStore, progress: "tqdm[Any]") -> None:
        """Store the missing photos as they come, over as many connections as it takes; note the unreadable ones."""
        waiting = dict(missing)
        n_received = 0
        n_failures = 0
        while waiting:
            n_received_before = n_received
            try:
                for name, content in self._remote.read_photos(dict(waiting)):
                    stamp = waiting.pop(name)
                    if content is None:
                        self._unreadable.add(name)
                        continue
                    if len(content) == stamp.size:  # else it has changed since it was listed
                        store.add(name, stamp, content)
                        n_received += 1
                    progress.update(len(content))
                    progress.set_postfix_str(f"{n_received}/{len(missing)} photos", refresh=False)
                return
            except RemoteInterrupted as error:
                n_failures = 0 if n_received > n_received_before else n_failures + 1
                if n_failures > len(RETRY_PAUSES):
                    raise _final_error(error) from None
                _pause(error, RETRY_PAUSES[max(n_failures - 1, 0)])

    def _check(self, store: PhotoStore) -> None:
        """Drop unchecked photos, unless their checksum is the remote machine's or it computes none."""
        pending = store.pending_checks()
        if not pending:
            return
        checksums = _retry(lambda: self._remote.checksums(list(pending)))
        if checksums is None:
            checksums = pending
        damaged = {name for name, sha256 in pending.items() if checksums.get(name) != sha256}
        store.drop(damaged)
        store.mark_checked(pending.keys() - damaged)

    def _leave_out(self, names: Collection[str]) -> None:
        """Do without photos that changed in every round, as those that are still being uploaded do."""
        log.warning("%d photos keep changing there and are left out, such as %r", len(names), min(names))
        for name in names:
            del self._listing[name]

    def _warn_of_unreadable(self, names: list[str]) -> None:
        if not self._unreadable:
            return
        example = min(self._unreadable)
        if len(self._unreadable) == len(names):
            raise MarketplaceError(f"none of the {len(names)} photos can be read there, such as {example!r}.")
        log.warning("%d photos cannot be read there and are left out, such as %r", len(self._unreadable), example)


def _collect(files: Iterable[tuple[str, Stamp]]) -> dict[str, Stamp]:
    """Return the stamps of photos by name. Raises MarketplaceError if there are more than MAX_PHOTOS files."""
    listing = Listing()
    progress = progress_bar(files, total=None, description="listing the photos", unit="file")
    for number, (name, stamp) in enumerate(progress):
        if number == MAX_PHOTOS:
            raise too_many_files_error()
        listing.add(name, stamp)
    listing.warn_of_others()
    return listing.photos


@contextlib.contextmanager
def _open_store(folder: Path) -> Iterator[PhotoStore]:
    """Open the photos in a folder, which is made, for this process alone."""
    folder.mkdir(exist_ok=True)
    with _lock(folder), contextlib.closing(PhotoStore(folder)) as store:
        yield store


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Let no other process fetch the same dump; wait for one that does."""
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.info("another fetch of this dump is running: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _retry(action: Callable[[], Result]) -> Result:
    """Call `action` again after RemoteInterrupted, once after each of RETRY_PAUSES."""
    for pause in RETRY_PAUSES:
        try:
            return action()
        except RemoteInterrupted as error:
            _pause(error, pause)
    try:
        return action()
    except RemoteInterrupted as error:
        raise _final_error(error) from None


def _pause(error: RemoteInterrupted, seconds: float) -> None:
    log.warning("%s; trying again in %g s", error, seconds)
    time.sleep(seconds)


def _final_error(error: RemoteInterrupted) -> MarketplaceError:
    return MarketplaceError(
        f"{error}, and {len(RETRY_PAUSES)} retries did not help. Photos that did arrive are kept: run the stage again."
    )
