"""SFTP for accounts that allow nothing else: one session or several, and names in any encoding."""

import contextlib
import logging
import os
import queue
import stat
import struct
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import paramiko
from paramiko.sftp import (
    CMD_ATTRS,
    CMD_CLOSE,
    CMD_DATA,
    CMD_HANDLE,
    CMD_LSTAT,
    CMD_NAME,
    CMD_OPENDIR,
    CMD_READDIR,
    CMD_STAT,
    SFTPError,
)

from marketplace.sources import ssh
from marketplace.sources.bounds import MAX_PHOTOS, MAX_TABLE_BYTES, Pace, read_table, read_up_to, too_many_files_error
from marketplace.sources.listing import is_safe
from marketplace.sources.photo_store import Stamp
from marketplace.sources.read_ahead import Photo, read_ahead
from marketplace.sources.transport import PACKET_BYTES, WINDOW_BYTES

log = logging.getLogger(__name__)

OPEN_SECONDS = 3.0  # until a server that allows one session has seen that the last one ended
MAX_PACKET_BYTES = 2**20  # OpenSSH sends a quarter of it
MAX_SESSIONS = 8  # sshd allows ten on a connection, unless configured otherwise

# The errors that paramiko raises for incomplete messages.
PROTOCOL_ERRORS = (SFTPError, struct.error, ValueError, TypeError)


class Attributes(NamedTuple):
    """The attributes of a file, as a server states them; None for any that it leaves out."""

    size: int | None
    mode: int | None
    mtime: int | None  # in seconds


class _Client(paramiko.SFTPClient):  # type: ignore[misc]  # paramiko is not typed
    """paramiko's client, which otherwise fails on the first name in a folder that is not UTF-8, and waits for ever."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._pace = Pace(ssh.STALL_SECONDS)
        super().__init__(channel)

    def _read_packet(self) -> tuple[int, bytes]:
        kind, content = super()._read_packet()
        if kind == CMD_DATA and len(content) > paramiko.SFTPFile.MAX_REQUEST_SIZE + 8:  # its numbers
            raise SFTPError("more bytes than were requested")
        return kind, content

    def _read_all(self, n: int) -> bytes:
        if n > MAX_PACKET_BYTES:
            raise SFTPError(f"a packet of {n} bytes")
        content = bytearray()
        while len(content) < n:
            part = self._pace.receive(self.sock.recv, n - len(content))
            if not part:
                raise EOFError
            content += part
        return bytes(content)

    def stat(self, path: str) -> Attributes:
        """Return the attributes of a file, or of the file that a link leads to."""
        return self._request_attributes(CMD_STAT, path)

    def lstat(self, path: str) -> Attributes:
        """Return the attributes of a file or a link."""
        return self._request_attributes(CMD_LSTAT, path)

    def _request_attributes(self, request: int, path: str) -> Attributes:
        kind, message = self._request(request, path)
        if kind != CMD_ATTRS:
            raise SFTPError("Expected attributes")
        return _read_attributes(message)

    def list_entries(self, folder: str) -> Iterator[tuple[str, Attributes]]:
        """Yield the entries of a folder, as paramiko's `listdir_attr`, with names decoded by the file system's rule.

        Raises MarketplaceError if there are more than MAX_PHOTOS.
        """
        n_entries = 0
        kind, message = self._request(CMD_OPENDIR, folder)
        if kind != CMD_HANDLE:
            raise SFTPError("Expected handle")
        handle = message.get_binary()
        while True:
            try:
                kind, message = self._request(CMD_READDIR, handle)
            except EOFError:
                break
            if kind != CMD_NAME:
                raise SFTPError("Expected name response")
            for _ in range(_read_count(message)):
                name = os.fsdecode(message.get_binary())
                message.get_binary()  # the line that `ls -l` would show
                yield name, _read_attributes(message)
                n_entries += 1
                if n_entries > MAX_PHOTOS:
                    raise too_many_files_error()
        self._request(CMD_CLOSE, handle)


def _read_attributes(message: paramiko.Message) -> Attributes:
    """Read the attributes of a file; paramiko's own reader believes that four billion of them follow."""
    flags = message.get_int()
    size = message.get_int64() if flags & paramiko.SFTPAttributes.FLAG_SIZE else None
    if flags & paramiko.SFTPAttributes.FLAG_UIDGID:
        message.get_bytes(8)
    mode = message.get_int() if flags & paramiko.SFTPAttributes.FLAG_PERMISSIONS else None
    mtime = None
    if flags & paramiko.SFTPAttributes.FLAG_AMTIME:
        message.get_bytes(4)
        mtime = message.get_int()
    if flags & paramiko.SFTPAttributes.FLAG_EXTENDED:
        for _ in range(2 * _read_count(message)):
            message.get_binary()
    return Attributes(size=size, mode=mode, mtime=mtime)


def _read_count(message: paramiko.Message) -> int:
    """Read the number of things that follow. Raises SFTPError if the message is too short for them."""
    count = int(message.get_int())
    if count > len(message.get_remainder()) // 8:  # each has two texts at least
        raise SFTPError(f"{count} things in a short message")
    return count


@contextlib.contextmanager
def session(transport: paramiko.Transport, seconds: float = OPEN_SECONDS) -> Iterator[_Client]:
    """Open an SFTP session; a breach of the protocol by the server becomes a paramiko.SSHException.

    Raises paramiko.SSHException if the server offers no session within `seconds`.
    """
    client = None
    try:
        client = _open(transport, time.monotonic() + seconds)
        yield client
    except PROTOCOL_ERRORS as error:
        raise paramiko.SSHException(f"its SFTP is not understood: {error}") from None
    finally:
        if client is not None:
            client.close()


def _open(transport: paramiko.Transport, deadline: float) -> _Client:
    while True:
        channel = None
        try:
            channel = transport.open_session(WINDOW_BYTES, PACKET_BYTES, timeout=ssh.CONNECT_SECONDS)
            channel.settimeout(ssh.STALL_SECONDS)
            with ssh.closed_if_silent(channel):
                channel.invoke_subsystem("sftp")
            return _Client(channel)
        except paramiko.ChannelException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        except BaseException:
            if channel is not None:
                channel.close()
            raise


def find_state(client: _Client, folder: str, name: str, kind: str) -> str:
    """Return whether a file or folder is "missing", "irregular", "unreadable", "outside" (a link) or "sound".

    With an empty name, it is `folder` itself.
    """
    path = f"{folder}/{name}" if name else folder
    try:
        mode = client.stat(path).mode
        if mode is not None and not (stat.S_ISDIR(mode) if kind == "folder" else stat.S_ISREG(mode)):
            return "irregular"
        if name and _leads_out(client, path, folder):
            return "outside"
        if kind == "folder":
            next(client.list_entries(path), None)
        else:
            client.open(path).close()
    except FileNotFoundError:
        return "missing"
    except PermissionError:
        return "unreadable"
    return "sound"


def _leads_out(client: _Client, path: str, folder: str) -> bool:
    """Return whether a path is a link out of a folder, as far as the server tells."""
    try:
        if not stat.S_ISLNK(client.lstat(path).mode or 0):
            return False
        return not client.normalize(path).startswith(client.normalize(folder).rstrip("/") + "/")
    except OSError as error:
        if error.errno is None and not client.get_channel().closed:
            return False  # the server has no such request
        raise


def read_file(transport: paramiko.Transport, path: str, description: str) -> bytes:
    """Return the content of a table. Raises OSError if it cannot be read, MarketplaceError if it is too large."""
    with session(transport) as client, client.open(path) as file:
        file.prefetch(min(client.stat(path).size or 0, MAX_TABLE_BYTES + 1))
        return read_table(file.read, description)


def stat_files(transport: paramiko.Transport, folder: str, names: Iterable[str]) -> Iterator[tuple[str, Stamp]]:
    """Yield the names and stamps of files of a folder; links are followed."""
    with session(transport) as client:
        for name in names:
            attributes = client.stat(f"{folder}/{name}")
            yield name, Stamp(size=attributes.size or 0, version=str(attributes.mtime))


def list_files(transport: paramiko.Transport, folder: str) -> Iterator[tuple[str, Stamp]]:
    """Yield the paths and stamps of the regular files of a folder and its subfolders.

    A subfolder that is not readable is yielded like a file.
    """
    n_links = 0
    n_folders = 0
    subfolders = [""]
    with session(transport) as client:
        while subfolders:
            parent = subfolders.pop()
            try:
                for name, entry in client.list_entries(f"{folder}/{parent}"):
                    mode = entry.mode or 0
                    n_links += stat.S_ISLNK(mode)
                    if stat.S_ISREG(mode) and "/" not in name:
                        yield f"{parent}{name}", Stamp(size=entry.size or 0, version=str(entry.mtime))
                    elif stat.S_ISDIR(mode) and "/" not in name and is_safe(f"{parent}{name}"):
                        subfolders.append(f"{parent}{name}/")
                        n_folders += 1
            except PermissionError:
                if not parent:
                    raise
                yield parent.rstrip("/"), Stamp(size=0, version="")
            if n_folders > MAX_PHOTOS:
                raise too_many_files_error()
    warn_of_links(n_links)


def warn_of_links(n_links: int) -> None:
    """Log how many links are left behind, if any."""
    if n_links:
        log.warning("%d links in images/ are left behind: put the files themselves in their place", n_links)


def read_files(transport: paramiko.Transport, folder: str, stamps: dict[str, Stamp]) -> Iterator[Photo]:
    """Yield (name, content) of files in a folder, over as many sessions as the server allows.

    The content is None for a file that is not readable; one that has vanished is left out.
    """
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(session(transport))]
        with contextlib.suppress(paramiko.SSHException):
            while len(clients) < MAX_SESSIONS:
                clients.append(stack.enter_context(session(transport, seconds=0)))
        idle_clients: queue.SimpleQueue[_Client] = queue.SimpleQueue()
        for client in clients:
            idle_clients.put(client)

        def read(name: str, stamp: Stamp) -> Photo | None:
            client = idle_clients.get()
            try:
                with client.open(f"{folder}/{name}") as file:
                    file.prefetch(stamp.size)
                    return name, read_up_to(file.read, stamp.size)
            except FileNotFoundError:
                return None
            except OSError as error:
                if isinstance(error, TimeoutError) or client.get_channel().closed:
                    raise
                return name, None  # the server says that it cannot read this one
            finally:
                idle_clients.put(client)

        yield from read_ahead(read, stamps, len(clients))
