"""SFTP for accounts that have nothing else: one session or several, and names in any encoding."""

import contextlib
import os
import queue
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import paramiko
from paramiko.sftp import CMD_CLOSE, CMD_HANDLE, CMD_NAME, CMD_OPENDIR, CMD_READDIR, SFTPError

from marketplace.compute.interrupts import held_interrupts
from marketplace.sources import ssh
from marketplace.sources.photo_store import Stamp

PATIENCE = 3.0
SESSIONS = 8  # sshd allows ten on a connection, unless told otherwise


class _Client(paramiko.SFTPClient):  # type: ignore[misc]  # paramiko is not typed
    """paramiko's client, which fails on the first name of a folder that is not UTF-8."""

    def files(self, folder: str) -> Iterator[tuple[str, paramiko.SFTPAttributes]]:
        """The entries of a folder, as paramiko's `listdir_attr` gets them, names decoded by the file system's rule."""
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
def session(transport: paramiko.Transport, patience: float = PATIENCE) -> Iterator[_Client]:
    """An SFTP session. Raises paramiko.SSHException if the server offers none within `patience` seconds."""
    client = _open(transport, time.monotonic() + patience)
    channel = client.get_channel() if client is not None else None
    if client is None or channel is None:
        raise paramiko.SSHException("the server offers no SFTP")
    channel.settimeout(ssh.STALL_SECONDS)
    try:
        yield client
    finally:
        client.close()


def _open(transport: paramiko.Transport, deadline: float) -> _Client | None:
    """Open a session; a server that allows one alone takes a moment to see that the last one has ended."""
    while True:
        try:
            client: _Client | None = _Client.from_transport(transport, ssh.WINDOW, ssh.PACKET)
            return client
        except paramiko.ChannelException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def read_file(transport: paramiko.Transport, path: str) -> bytes:
    """The content of a file. Raises OSError if it cannot be read."""
    with session(transport) as sftp:
        size = sftp.stat(path).st_size
        with sftp.open(path) as file:
            file.prefetch(size)
            content: bytes = file.read()
    return content


def list_files(transport: paramiko.Transport, folder: str) -> dict[str, Stamp]:
    """The regular files of a folder."""
    with session(transport) as sftp:
        return {
            name: Stamp(int(entry.st_size or 0), str(entry.st_mtime))
            for name, entry in sftp.files(folder)
            if stat.S_ISREG(entry.st_mode or 0)
        }


def read_files(
    transport: paramiko.Transport, folder: str, wanted: dict[str, Stamp]
) -> Iterator[tuple[str, bytes | None]]:
    """Yield (name, content) of files in a folder, over as many sessions as the server allows.

    The content is None for a file that may not be read; one that vanished is left out.
    """
    with contextlib.ExitStack() as stack:
        clients: queue.SimpleQueue[_Client] = queue.SimpleQueue()
        n_sessions = 0
        for _ in range(SESSIONS):
            try:
                clients.put(stack.enter_context(session(transport, PATIENCE if n_sessions == 0 else 0)))
            except paramiko.SSHException:
                if n_sessions == 0:
                    raise
                break
            n_sessions += 1

        def read(name: str) -> tuple[str, bytes | None, bool]:
            client = clients.get()
            try:
                with client.open(f"{folder}/{name}") as file:
                    file.prefetch(wanted[name].size)
                    return name, file.read(), True
            except PermissionError:
                return name, None, True
            except FileNotFoundError:
                return name, None, False
            finally:
                clients.put(client)

        let_through = stack.enter_context(held_interrupts())
        pool = stack.enter_context(ThreadPoolExecutor(n_sessions))
        names = list(wanted)
        for start in range(0, len(names), 16 * n_sessions):  # bounds what waits in memory
            for name, content, there in pool.map(read, names[start : start + 16 * n_sessions]):
                let_through()
                if there:
                    yield name, content
