"""SFTP for accounts that allow nothing else: one session or several, and names in any encoding."""

import contextlib
import os
import queue
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import paramiko
from paramiko.sftp import CMD_CLOSE, CMD_HANDLE, CMD_NAME, CMD_OPENDIR, CMD_READDIR, SFTPError

from marketplace.compute.interrupts import deferred_interrupts
from marketplace.sources import ssh
from marketplace.sources.photo_store import Stamp

OPEN_SECONDS = 3.0  # until a server that allows one session has seen that the last one ended
MAX_SESSIONS = 8  # sshd allows ten on a connection, unless configured otherwise


class _Client(paramiko.SFTPClient):  # type: ignore[misc]  # paramiko is not typed
    """paramiko's client, which otherwise fails on the first name in a folder that is not UTF-8."""

    def list_entries(self, folder: str) -> Iterator[tuple[str, paramiko.SFTPAttributes]]:
        """Yield the entries of a folder, as paramiko's `listdir_attr`, with names decoded by the file system's rule."""
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
            for _ in range(message.get_int()):
                name = os.fsdecode(message.get_binary())
                message.get_binary()  # the line that `ls -l` would show
                yield name, paramiko.SFTPAttributes._from_msg(message)
        self._request(CMD_CLOSE, handle)


@contextlib.contextmanager
def session(transport: paramiko.Transport, seconds: float = OPEN_SECONDS) -> Iterator[_Client]:
    """Open an SFTP session. Raises paramiko.SSHException if the server offers none within `seconds`."""
    client = _open(transport, time.monotonic() + seconds)
    channel = client.get_channel() if client is not None else None
    if client is None or channel is None:
        raise paramiko.SSHException("the server offers no SFTP")
    channel.settimeout(ssh.STALL_SECONDS)
    try:
        yield client
    finally:
        client.close()


def _open(transport: paramiko.Transport, deadline: float) -> _Client | None:
    while True:
        try:
            return _Client.from_transport(transport, ssh.WINDOW_BYTES, ssh.PACKET_BYTES)
        except paramiko.ChannelException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def read_file(transport: paramiko.Transport, path: str) -> bytes:
    """Return the content of a file. Raises OSError if it cannot be read."""
    with session(transport) as client:
        size = client.stat(path).st_size
        with client.open(path) as file:
            file.prefetch(size)
            return file.read()


def list_files(transport: paramiko.Transport, folder: str) -> dict[str, Stamp]:
    """Return the stamps of the regular files of a folder, by name."""
    with session(transport) as client:
        return {
            name: Stamp(size=int(entry.st_size or 0), version=str(entry.st_mtime))
            for name, entry in client.list_entries(folder)
            if stat.S_ISREG(entry.st_mode or 0)
        }


def read_files(
    transport: paramiko.Transport, folder: str, stamps: dict[str, Stamp]
) -> Iterator[tuple[str, bytes | None]]:
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

        def read(name: str) -> tuple[str, bytes | None] | None:
            client = idle_clients.get()
            try:
                with client.open(f"{folder}/{name}") as file:
                    file.prefetch(stamps[name].size)
                    return name, file.read()
            except PermissionError:
                return name, None
            except FileNotFoundError:
                return None
            finally:
                idle_clients.put(client)

        raise_pending = stack.enter_context(deferred_interrupts())
        pool = stack.enter_context(ThreadPoolExecutor(len(clients)))
        names = list(stamps)
        batch_size = 16 * len(clients)  # bounds the memory of photos that wait
        for start in range(0, len(names), batch_size):
            for photo in pool.map(read, names[start : start + batch_size]):
                raise_pending()
                if photo is not None:
                    yield photo
