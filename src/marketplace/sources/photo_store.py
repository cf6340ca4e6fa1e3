"""Photos of a remote dump in the user's cache: a SQLite database of their bytes, versions and checksums."""

import contextlib
import errno
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from marketplace.common.errors import MarketplaceError

FILE_NAME = "photos.sqlite"
SCHEMA = """
PRAGMA auto_vacuum = FULL;        -- the file shrinks when photos are dropped
PRAGMA locking_mode = EXCLUSIVE;  -- needs no shared memory, which network file systems lack
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;      -- a power failure may lose the last photos, and damages none
-- Facts and contents are apart, because a fetch reads all facts first.
CREATE TABLE IF NOT EXISTS facts (
    name TEXT PRIMARY KEY, size INTEGER, version TEXT, sha256 TEXT, checked INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS contents (name TEXT PRIMARY KEY, content BLOB);
"""
BATCH_BYTES = 2**17  # of photos that are committed together: each commit takes as long as three photos
FULL_DISK_ERRORS = {"SQLITE_FULL", "SQLITE_IOERR_WRITE"}  # the second: a quota, or a limit of file size


class Stamp(NamedTuple):
    """The version of a photo at its source: its size in bytes, and a text that changes when its content does."""

    size: int
    version: str


class PhotoStore:
    """Photos by name, with the stamps that they had at their source; for one process at a time.

    They are in a folder, or in memory if that is None.
    Photos are committed together until they have BATCH_BYTES, so a process that is killed loses no more.
    Methods raise OSError if the disk is full, and MarketplaceError if the database cannot be used.
    """

    def __init__(self, folder: Path | None) -> None:
        if folder is not None:
            for path in (*folder.glob("*.photos"), *folder.glob("*.index")):  # the format of earlier versions
                path.unlink()
        self._n_waiting_bytes = 0  # of photos that were added since the last commit
        self._path = ":memory:" if folder is None else folder / FILE_NAME
        with self._explain_errors():
            self._connection = sqlite3.connect(self._path)
            self._connection.executescript(SCHEMA)

    def close(self) -> None:
        """Commit the last photos and close the database."""
        try:
            with self._transaction():
                pass
        finally:
            self._connection.close()

    def stamps(self) -> dict[str, Stamp]:
        """Return the stamps of all stored photos, by name."""
        with self._transaction():
            rows = self._connection.execute("SELECT name, size, version FROM facts")
            return {name: Stamp(size=size, version=version) for name, size, version in rows}

    def pending_checks(self) -> dict[str, str]:
        """Return the SHA-256, by name, of photos that are not checked yet; an earlier run may have left some."""
        with self._transaction():
            return dict(self._connection.execute("SELECT name, sha256 FROM facts WHERE NOT checked"))

    def add(self, name: str, stamp: Stamp, content: bytes) -> None:
        """Store a photo, unchecked, in place of an older version."""
        sha256 = hashlib.sha256(content).hexdigest()
        facts = (name, stamp.size, stamp.version, sha256)
        self._n_waiting_bytes += len(content)
        with self._transaction(commits=self._n_waiting_bytes >= BATCH_BYTES):
            self._connection.execute("REPLACE INTO facts VALUES (?, ?, ?, ?, FALSE)", facts)
            self._connection.execute("REPLACE INTO contents VALUES (?, ?)", (name, content))

    def mark_checked(self, names: Iterable[str]) -> None:
        """Record that photos passed their check."""
        keys = [(name,) for name in names]
        with self._transaction():
            self._connection.executemany("UPDATE facts SET checked = TRUE WHERE name = ?", keys)

    def drop(self, names: Iterable[str]) -> None:
        """Delete photos, and return their space to the disk."""
        keys = [(name,) for name in names]
        with self._transaction():
            self._connection.executemany("DELETE FROM facts WHERE name = ?", keys)
            self._connection.executemany("DELETE FROM contents WHERE name = ?", keys)

    def read(self, name: str) -> bytes:
        """Return the bytes of a stored photo.

        Drops the photo and raises MarketplaceError if its bytes differ from those that were stored.
        """
        query = "SELECT sha256, CAST(content AS BLOB) FROM facts JOIN contents USING (name) WHERE name = ?"
        with self._transaction():
            row = self._connection.execute(query, (name,)).fetchone()
        sha256, content = row or (None, None)
        if content is None or hashlib.sha256(content).hexdigest() != sha256:
            self.drop([name])
            if name in self.stamps():  # as when the order of the names is damaged, by which SQLite finds them
                raise MarketplaceError(f"{self._path} is damaged: delete it and run the stage again.")
            raise MarketplaceError(
                f"{self._path} had a damaged copy of {name!r}: run the stage again to fetch it anew."
            )
        return content

    @contextlib.contextmanager
    def _transaction(self, *, commits: bool = True) -> Iterator[None]:
        """Commit the changes of the block and of those before it that waited, or roll all of them back if it fails."""
        with self._explain_errors():
            try:
                yield
                if commits:
                    self._connection.commit()
                    self._n_waiting_bytes = 0
            except BaseException:
                self._connection.rollback()
                self._n_waiting_bytes = 0
                raise

    @contextlib.contextmanager
    def _explain_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:  # a damaged schema may be no UTF-8
            if getattr(error, "sqlite_errorname", "") in FULL_DISK_ERRORS:
                raise OSError(errno.ENOSPC, str(error), str(self._path)) from None
            raise MarketplaceError(
                f"{self._path} cannot be used ({error}): delete it and run the stage again."
            ) from None
