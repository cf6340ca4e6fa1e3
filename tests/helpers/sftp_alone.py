"""SSH servers of paramiko that offer SFTP alone, and do with a command, or in SFTP, as a test wants."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import paramiko

Refusal = Callable[[paramiko.Channel], bool]


def refuse(channel: paramiko.Channel) -> bool:
    """Refuse a command."""
    return False


def say_nothing(channel: paramiko.Channel) -> bool:
    """Accept a command, and never answer it."""
    return True


def end_command(channel: paramiko.Channel) -> bool:
    """Accept a command, and end it with a message, as services do that offer SFTP alone."""

    def end() -> None:
        channel.sendall(b"This service allows sftp connections only.\n")
        channel.send_exit_status(1)
        channel.close()

    threading.Timer(0.1, end).start()
    return True


def close_channel(channel: paramiko.Channel) -> bool:
    """Close the channel of a command."""
    channel.close()
    return False


def end_connection(channel: paramiko.Channel) -> bool:
    """End the connection that asks for a command."""
    channel.get_transport().close()
    return False


class _Server(paramiko.ServerInterface):  # type: ignore[misc]  # paramiko is not typed
    def __init__(self, refusal: Refusal) -> None:
        self._refusal = refusal

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return int(paramiko.AUTH_SUCCESSFUL)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        return self._refusal(channel)


class _Folder(paramiko.SFTPServerInterface):  # type: ignore[misc]
    """The files of this machine, read-only."""

    def list_folder(self, path: str) -> Any:
        return [paramiko.SFTPAttributes.from_stat(entry.stat(), entry.name) for entry in os.scandir(path)]

    def stat(self, path: str) -> Any:
        try:
            return paramiko.SFTPAttributes.from_stat(Path(path).stat())
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    def open(self, path: str, flags: int, attr: object) -> Any:
        handle = paramiko.SFTPHandle(flags)
        handle.readfile = Path(path).open("rb")  # noqa: SIM115  # closed with the handle
        return handle


class SftpAlone(NamedTuple):
    """A running server."""

    port: int
    fingerprint: str


@contextlib.contextmanager
def sftp_alone(
    refusal: Refusal = refuse, subsystem: type[paramiko.SFTPServer] = paramiko.SFTPServer
) -> Iterator[SftpAlone]:
    """Serve the files of this machine over SFTP, to everybody who has a key."""
    host_key = paramiko.ECDSAKey.generate()
    listener = socket.create_server(("127.0.0.1", 0))
    transports = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transports.append(transport)
            transport.add_server_key(host_key)
            transport.set_subsystem_handler("sftp", subsystem, _Folder)
            with contextlib.suppress(paramiko.SSHException, EOFError):
                transport.start_server(server=_Server(refusal))

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield SftpAlone(port=listener.getsockname()[1], fingerprint=host_key.fingerprint)
    finally:
        listener.close()
        for transport in transports:
            transport.close()
