"""A local mirror of a remote dump's photos: those already here, whole and unchanged, are not transferred again."""

import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from filelock import FileLock, Timeout

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import user_cache
from marketplace.common.progress import progress_bar
from marketplace.sources.photo_store import PhotoStore, Stamp

if TYPE_CHECKING:
    from tqdm import tqdm

log = logging.getLogger(__name__)

MAX_ROUNDS = 5
# Seconds to wait before each new try of what a broken connection cut off; a try that got something starts over.
PAUSES = (1.0, 2.0, 4.0)

Result = TypeVar("Result")


class RemoteInterrupted(Exception):  # noqa: N818  # an event, not an error that somebody made
    """The connection broke, stalled or was refused: trying again may help."""


class Remote(Protocol):
    """A dump on another machine. Every method may raise RemoteInterrupted, and is then called again."""

    @property
    def identity(self) -> str:
        """A text that is different for every dump."""

    def table(self, name: str) -> bytes:
        """The bytes of `products.csv` or `images.csv`."""

    def list_photos(self) -> dict[str, Stamp]:
        """All photos that are there."""

    def read_photos(self, wanted: dict[str, Stamp]) -> Iterator[tuple[str, bytes | None]]:
        """Yield (name, content) of wanted photos in any order; those that vanished or changed may be left out.

        The content is None for a photo that may not be read.
        """

    def checksums(self, names: list[str]) -> dict[str, str]:
        """The SHA-256 of photos as the remote machine computes it; empty if it cannot."""


class Mirror:
    """A Dump (see `marketplace.sources.dump`) that copies a remote one here, but only what is new or changed."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._name = hashlib.sha256(remote.identity.encode()).hexdigest()[:32]
        self._listing: dict[str, Stamp] = {}
        self._refused: set[str] = set()  # photos that may not be read

    def table(self, name: str) -> bytes:
        """The bytes of `products.csv` or `images.csv`."""
        return _trying(lambda: self._remote.table(name))

    def photo_names(self) -> list[str]:
        """The names of all photos that are there now, except those that are not safe as file names here."""
        self._listing = self._list()
        return list(self._listing)

    def read_photos(self, names: list[str]) -> Iterator[tuple[str, bytes]]:
        """Transfer what is missing, then yield (name, content) of the named photos, in the order given.

        Photos that have vanished in the meantime are left out.
        """
        folder = user_cache("dumps") / self._name
        folder.mkdir(exist_ok=True)
        lock = FileLock(folder / "lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log.info("another fetch of this dump is under way: waiting for it")
            lock.acquire()
        try:
            with contextlib.closing(PhotoStore(folder)) as store:
                self._sync(store, names)
                for name in names:
                    if name in self._listing and name not in self._refused:
                        yield name, store.read(name)
        finally:
            lock.release()

    def _list(self) -> dict[str, Stamp]:
        listing = _trying(self._remote.list_photos)
        unsafe = [name for name in listing if not is_safe(name)]
        if unsafe:
            log.warning("%d files are left behind, since no image id can be named like %r", len(unsafe), unsafe[0])
        return {name: stamp for name, stamp in listing.items() if is_safe(name)}

    def _sync(self, store: PhotoStore, names: list[str]) -> None:
        """Transfer until the store holds what the newest listing says; it is taken again after each round."""
        self._check(store)  # what a run received that ended before its check
        missing = self._missing(store, names)
        n_bytes = sum(stamp.size for stamp in missing.values())
        progress = progress_bar(total=n_bytes, what="transferring", unit="B", shown=bool(missing), scaled=True)
        with progress:
            for _ in range(MAX_ROUNDS):
                if not missing:
                    break
                _transfer(self._remote, missing, store, progress, self._refused)
                self._check(store)
                self._listing = self._list()
                still_missing = self._missing(store, names)
                if still_missing == missing:
                    break  # nothing came that could be kept, and nothing has changed
                missing = still_missing
        self._warn_of_refused(names)
        if missing:
            example, stamp = next(iter(missing.items()))
            raise MarketplaceError(
                f"{len(missing)} photos are listed but do not come as listed, such as {example!r} ({stamp.size} "
                "bytes): they cannot be read there, or keep changing. What did come is kept; fix that and run the "
                "stage again."
            )
        store.drop(store.stamps().keys() - self._listing.keys())

    def _missing(self, store: PhotoStore, names: list[str]) -> dict[str, Stamp]:
        """The stamps of the photos that the store does not have as they are listed."""
        listing = self._listing
        stored = store.stamps()
        readable = [name for name in names if name in listing and name not in self._refused]
        return {name: listing[name] for name in readable if stored.get(name) != listing[name]}

    def _warn_of_refused(self, names: list[str]) -> None:
        refused = sorted(self._refused)
        if not refused:
            return
        if len(refused) == len(names):
            raise MarketplaceError(f"none of the {len(names)} photos may be read, such as {refused[0]!r}.")
        log.warning("%d photos may not be read there and are left out, such as %r", len(refused), refused[0])

    def _check(self, store: PhotoStore) -> None:
        """Drop unchecked photos whose checksum differs from the remote machine's."""
        unchecked = store.unchecked()
        if not unchecked:
            return
        checksums = _trying(lambda: self._remote.checksums(list(unchecked)))
        damaged = {name for name, sha256 in unchecked.items() if checksums.get(name, sha256) != sha256}
        store.drop(damaged)
        store.mark_checked(unchecked.keys() - damaged)


def is_safe(name: str) -> bool:
    """True if a file may have this name: not a path, no control characters, valid Unicode."""
    return name not in ("", ".", "..") and "/" not in name and name.isprintable()


def _trying(action: Callable[[], Result]) -> Result:
    """Call `action` again after RemoteInterrupted, a bounded number of times."""
    for pause in PAUSES:
        try:
            return action()
        except RemoteInterrupted as error:
            _wait(error, pause)
    try:
        return action()
    except RemoteInterrupted as error:
        raise MarketplaceError(_gave_up(error)) from None


def _transfer(
    remote: Remote, missing: dict[str, Stamp], store: PhotoStore, progress: "tqdm[Any]", refused: set[str]
) -> None:
    """Store the missing photos as they come, over as many connections as it takes.

    Adds the names of photos that may not be read to `refused`.
    """
    wanted = dict(missing)
    n_received = 0
    n_failures = 0
    while wanted:
        n_received_before = n_received
        try:
            for name, content in remote.read_photos(dict(wanted)):
                stamp = wanted.pop(name)
                if content is None:
                    refused.add(name)
                    continue
                if len(content) == stamp.size:  # else it changed since it was listed
                    store.add(name, stamp, content)
                    n_received += 1
                progress.update(len(content))
                progress.set_postfix_str(f"{n_received}/{len(missing)} photos", refresh=False)
            break
        except RemoteInterrupted as error:
            n_failures = 0 if n_received > n_received_before else n_failures + 1
            if n_failures > len(PAUSES):
                raise MarketplaceError(_gave_up(error)) from None
            _wait(error, PAUSES[max(n_failures - 1, 0)])


def _wait(error: RemoteInterrupted, pause: float) -> None:
    log.warning("%s; trying again in %g s", error, pause)
    time.sleep(pause)


def _gave_up(error: RemoteInterrupted) -> str:
    return f"{error}, and {len(PAUSES)} more tries did not help. What did come is kept: run the stage again."
