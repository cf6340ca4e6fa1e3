"""SFTP and SSH servers that lie or never end: one sentence each, in bounded memory and time."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paramiko
import pytest
from helpers.dumps import MakeSettings, fetch_files, photos_in, small_dump
from helpers.sftp_alone import sftp_alone
from paramiko.sftp import (
    CMD_ATTRS,
    CMD_DATA,
    CMD_NAME,
    CMD_OPEN,
    CMD_OPENDIR,
    CMD_READ,
    CMD_READDIR,
    CMD_STAT,
    CMD_STATUS,
)

from marketplace.common.errors import MarketplaceError
from marketplace.sources import mirror, sftp, ssh
from marketplace.sources.addresses import Address
from marketplace.sources.dump import open_dump
from marketplace.sources.known_hosts import KnownHosts
from marketplace.sources.transport import WINDOW_BYTES

Lie = Callable[[paramiko.SFTPServer, int], None]  # answers the request with a number


def message(*items: int | bytes) -> paramiko.Message:
    """Make a message of numbers and texts."""
    content = paramiko.Message()
    for item in items:
        content.add_int(item) if isinstance(item, int) else content.add_string(item)
    return content


def name_everything(server: paramiko.SFTPServer, number: int) -> None:
    """Answer with 500 names; this never ends."""
    entries: list[int | bytes] = []
    for index in range(500):
        entries += [b"photo%d.jpg" % index, b"", paramiko.SFTPAttributes.FLAG_PERMISSIONS, 0o100644]
    server._send_packet(CMD_NAME, message(number, 500, *entries))


def claim_many_names(server: paramiko.SFTPServer, number: int) -> None:
    """Answer with four billion names, none of which follows."""
    server._send_packet(CMD_NAME, message(number, 2**32 - 1))


def answer_in_no_encoding(server: paramiko.SFTPServer, number: int) -> None:
    """Answer with an error whose text is no UTF-8."""
    server._send_packet(CMD_STATUS, message(number, 4, b"\xff\xfe", b""))


def send_another_kind(server: paramiko.SFTPServer, number: int) -> None:
    """Answer with what was not asked for."""
    server._send_packet(CMD_ATTRS, message(number, 0))


def send_garbage(server: paramiko.SFTPServer, number: int) -> None:
    """Answer with what is no packet."""
    server._write_all(b"\xff" * 100)


def send_a_long_packet(server: paramiko.SFTPServer, number: int) -> None:
    """Announce a packet of 16 MB, and send it."""
    server._write_all(b"\0\xff\xff\xff" + bytes(2**22))


def send_too_much(server: paramiko.SFTPServer, number: int) -> None:
    """Answer with more bytes than were requested."""
    server._send_packet(CMD_DATA, message(number, bytes(2**17)))


def trickle(server: paramiko.SFTPServer, number: int) -> None:
    """Answer with a byte now and then."""
    for _ in range(200):
        server._write_all(b"\0")
        time.sleep(0.1)


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dump in a folder."""
    return small_dump(8).write(tmp_path_factory.mktemp("dump") / "small")


@pytest.mark.parametrize(
    ("request_kind", "lie", "expected"),
    [
        (CMD_READDIR, name_everything, "lists more than .* files"),
        (CMD_READDIR, claim_many_names, "its SFTP is not understood: 4294967295 things"),
        (CMD_READDIR, answer_in_no_encoding, "its SFTP is not understood"),
        (CMD_READDIR, send_another_kind, "its SFTP is not understood: Expected name response"),
        (CMD_READDIR, trickle, "no answer for too long"),
        (CMD_OPENDIR, send_another_kind, "its SFTP is not understood: Expected handle"),
        (CMD_STAT, send_garbage, "Garbage packet received"),
        (CMD_STAT, send_a_long_packet, "a packet of 16777215 bytes"),
        (CMD_READ, send_too_much, "more bytes than were requested"),
        (CMD_READ, trickle, "no answer for too long"),
    ],
)
def test_a_lie_is_one_sentence(
    over_ssh: MakeSettings,
    dump: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request_kind: int,
    lie: Lie,
    expected: str,
) -> None:
    class Liar(paramiko.SFTPServer):  # type: ignore[misc]  # paramiko is not typed
        def _process(self, kind: int, number: int, content: Any) -> None:
            if kind == request_kind:
                lie(self, number)
            else:
                super()._process(kind, number, content)

    monkeypatch.setattr(mirror, "RETRY_PAUSES", ())
    monkeypatch.setattr(sftp, "MAX_PHOTOS", 1000)
    monkeypatch.setattr(ssh, "STALL_SECONDS", 0.7)
    with sftp_alone(subsystem=Liar) as server, pytest.raises(MarketplaceError, match=expected):
        fetch_files(over_ssh(port=server.port, fingerprint=server.fingerprint, path=str(dump)), tmp_path / "raw")
    assert not (tmp_path / "raw" / "images").exists()


def test_one_photo_that_the_server_cannot_read_costs_itself_alone(
    over_ssh: MakeSettings, dump: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Liar(paramiko.SFTPServer):  # type: ignore[misc]
        def _process(self, kind: int, number: int, content: Any) -> None:
            if kind == CMD_OPEN and b"image003" in content.asbytes():
                self._send_status(number, paramiko.SFTP_FAILURE)
            else:
                super()._process(kind, number, content)

    with sftp_alone(subsystem=Liar) as server:
        fetch_files(over_ssh(port=server.port, fingerprint=server.fingerprint, path=str(dump)), tmp_path / "raw")
    assert len(photos_in(tmp_path / "raw")) == 7
    assert "1 photos cannot be read there and are left out, such as 'image003.jpg'" in caplog.text


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([b"x" * 2**16] * 100, "its greeting has no end"),
        ([b"SSH-2.0-liar\r\n", b"\x7f\xff\xff\xf4" + bytes(2**20)], "it sent a packet of"),
        ([b"no ssh\r\n" * 200], "cannot connect to"),
    ],
    ids=["greeting", "packet", "lines"],
)
def test_a_server_that_sends_without_end_is_left(
    over_ssh: MakeSettings, monkeypatch: pytest.MonkeyPatch, parts: list[bytes], expected: str
) -> None:
    monkeypatch.setattr(mirror, "RETRY_PAUSES", ())
    listener = socket.create_server(("127.0.0.1", 0))

    def send() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            for part in parts:
                connection.sendall(part)
            while connection.recv(2**16):
                pass

    threading.Thread(target=send, daemon=True).start()
    with listener, pytest.raises(MarketplaceError, match=expected):
        open_dump(over_ssh(port=listener.getsockname()[1])).table("images.csv")


def test_a_greeting_that_trickles_is_not_waited_for(over_ssh: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "RETRY_PAUSES", ())
    monkeypatch.setattr(ssh, "CONNECT_SECONDS", 0.7)
    listener = socket.create_server(("127.0.0.1", 0))

    def send() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            while True:
                connection.sendall(b"S")
                time.sleep(0.1)

    threading.Thread(target=send, daemon=True).start()
    with listener, pytest.raises(MarketplaceError, match="cannot connect to"):
        open_dump(over_ssh(port=listener.getsockname()[1])).table("images.csv")


def test_a_server_that_ignores_the_window_is_left() -> None:
    """What it sends is not read, so it would fill the memory."""

    def flood(channel: paramiko.Channel) -> bool:
        def send() -> None:
            channel.out_window_size = 2**40
            with contextlib.suppress(OSError, EOFError):
                while True:
                    channel.sendall(bytes(2**15))

        threading.Thread(target=send, daemon=True).start()
        return True

    with sftp_alone(flood) as server:
        address = Address(host="127.0.0.1", port=server.port, user="x", key_files=[], jump=None)
        connection = ssh.connect(address, paramiko.ECDSAKey.generate(), server.fingerprint, KnownHosts(None))
        channel = connection.transport.open_session()
        with contextlib.suppress(paramiko.SSHException):  # the flood may arrive before the answer
            channel.exec_command("x")
        deadline = time.monotonic() + 20
        while connection.transport.is_active() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not connection.transport.is_active()
        assert WINDOW_BYTES < len(channel.in_buffer) < 3 * WINDOW_BYTES
        connection.close()
