"""A dump on an EC2 machine, or any other that you can reach by SSH; its private key is in an S3 bucket.

If the machine has a shell and GNU tar, photos come as one tar stream, so that a small file costs no round trip.
If it allows only SFTP, several sessions read at once. Otherwise one session at a time is open: some servers allow no
second one.
"""

import contextlib
import os
import tarfile
import threading
from collections.abc import Iterable, Iterator
from functools import cached_property
from shlex import quote
from typing import Any

import paramiko

from marketplace.common.errors import MarketplaceError
from marketplace.sources import sftp, ssh
from marketplace.sources.mirror import RemoteInterrupted
from marketplace.sources.photo_store import Stamp
from marketplace.sources.s3 import read_key
from marketplace.sources.ssh import Ec2Settings

READ_AHEAD = 2**18  # bytes
TOOLS_MARKER = "marketplace"
TOOLS_CHECK = (
    f"find --version && tar --version | grep -q GNU && sha256sum --version && xargs --version && echo {TOOLS_MARKER}"
)
# Precedes the output of every command: an account's start files may print a greeting, which is no part of it.
OUTPUT_MARKER = b"\n--- marketplace begins ---\n"
MAX_GREETING_BYTES = 2**20
UNREADABLE_VERSION = "unreadable"  # the version of a photo that the account may not read


class Ec2Dump:
    """The folder `fetch.ec2.path` of a machine; a Remote (see `marketplace.sources.mirror`)."""

    def __init__(self, settings: Ec2Settings) -> None:
        for name in ("host", "path", "key"):
            if getattr(settings, name) is None:
                raise MarketplaceError(f"fetch.ec2.{name} is not set: fetch.source=ec2 needs it.")
        self._settings = settings
        path = str(settings.path)
        self._folder = path if path.startswith("/") else f"./{path}"  # so that no path looks like an option
        self._client: paramiko.SSHClient | None = None

    @property
    def identity(self) -> str:
        """A text that is different for every dump."""
        return f"ssh://{self._settings.user}@{self._settings.host}:{self._settings.port}/{self._settings.path}"

    def table(self, name: str) -> bytes:
        """See Remote."""
        path = f"{self._folder}/{name}"
        with self._connection():
            self._check_readable(self._folder, "fetch.ec2.path")
            self._check_readable(path, f"the table {name}")
            if self._has_tools:
                return self._run(f"cat -- {quote(path)}")
            return sftp.read_file(self._transport, path)

    def list_photos(self) -> dict[str, Stamp]:
        """See Remote. Anything but a regular file (folders, links) is not listed."""
        folder = f"{self._folder}/images"
        with self._connection():
            self._check_readable(folder, "the folder images")
            if not self._has_tools:
                return sftp.list_files(self._transport, folder)
            stamp = rf"\( -readable -printf '%s %T@ %f\0' -o -printf '%s {UNREADABLE_VERSION} %f\0' \)"
            output = self._run(f"find . -mindepth 1 -maxdepth 1 -type f {stamp}", folder)
        photos = {}
        for record in output.split(b"\0")[:-1]:
            size, version, name = record.split(b" ", 2)
            photos[os.fsdecode(name)] = Stamp(size=int(size), version=version.decode())
        return photos

    def read_photos(self, stamps: dict[str, Stamp]) -> Iterator[tuple[str, bytes | None]]:
        """See Remote."""
        with self._connection():
            if not self._has_tools:
                yield from sftp.read_files(self._transport, f"{self._folder}/images", stamps)
                return
            readable = {}
            for name, stamp in stamps.items():
                if stamp.version == UNREADABLE_VERSION:
                    yield name, None
                else:
                    readable[name] = stamp
            if readable:
                yield from self._read_tar(readable)

    def checksums(self, names: list[str]) -> dict[str, str]:
        """See Remote."""
        with self._connection():
            if not names or not self._has_tools:
                return {}
            command = "xargs -0 sha256sum -z --"
            output = self._run(command, f"{self._folder}/images", names, may_fail=True)  # some may have vanished
            return {os.fsdecode(line[66:]): line[:64].decode() for line in output.split(b"\0") if line}

    def _read_tar(self, stamps: dict[str, Stamp]) -> Iterator[tuple[str, bytes]]:
        waiting = dict(stamps)
        command = "tar --create --file=- --no-recursion --null --verbatim-files-from --files-from=-"
        with self._channel(command, f"{self._folder}/images", stamps) as (channel, output):
            try:
                stream: Any = output  # tarfile's "r|" needs only read()
                with tarfile.open(fileobj=stream, mode="r|", bufsize=READ_AHEAD) as tar:
                    for member in tar:
                        if member.name not in waiting:
                            raise self._unexpected_member_error(member.name)
                        if not member.isfile() or member.size != waiting[member.name].size:
                            return  # it has changed since it was listed: later members may be wrong too
                        file = tar.extractfile(member)
                        assert file is not None  # isfile() was true
                        yield member.name, file.read()
                        del waiting[member.name]  # a second member of that name is unexpected
            except tarfile.ReadError as error:
                if str(error) == "empty file" and channel.recv_exit_status() == 2:
                    return  # tar found none of the photos: all have vanished
                raise RemoteInterrupted(f"the stream from {self._settings.host} broke off ({error})") from None

    def _unexpected_member_error(self, name: str) -> MarketplaceError:
        return MarketplaceError(
            f"{self._settings.host} sent {name!r}, which was not requested: nothing of it was kept. "
            "Is `tar` there the real one?"
        )

    @cached_property
    def _has_tools(self) -> bool:
        try:
            return self._run(TOOLS_CHECK, may_fail=True).endswith(TOOLS_MARKER.encode() + b"\n")
        except paramiko.SSHException:  # the server refuses to run commands
            return False

    def _check_readable(self, path: str, description: str) -> None:
        """Raise MarketplaceError if a file or folder is missing or not readable."""
        if self._has_tools:
            test = f"if [ -r {quote(path)} ]; then echo readable; elif [ -e {quote(path)} ]; then echo unreadable; fi"
            state = self._run(test).strip().decode()
        else:
            state = self._find_state_by_sftp(path)
        if not state:
            raise MarketplaceError(f"{description} is missing on {self._settings.host}: there is no {path!r}.")
        if state == "unreadable":
            raise MarketplaceError(
                f"{description} is not readable on {self._settings.host} for {self._settings.user!r}: {path!r}."
            )

    def _find_state_by_sftp(self, path: str) -> str:
        """Return "readable", "unreadable" or, for a path that does not exist, an empty text."""
        try:
            with sftp.session(self._transport) as client:
                client.stat(path)
            return "readable"
        except FileNotFoundError:
            return ""
        except PermissionError:
            return "unreadable"
        except paramiko.SSHException as error:
            raise MarketplaceError(
                f"{self._settings.host} offers neither a shell with GNU tar nor SFTP to {self._settings.user!r} "
                f"({str(error) or type(error).__name__}). If the account's start files print anything, make them "
                "silent unless the shell is interactive."
            ) from None

    def _run(self, command: str, folder: str = ".", names: Iterable[str] = (), may_fail: bool = False) -> bytes:
        """Run a command in a folder and return its standard output; it reads `names`, each ended by a NUL."""
        with self._channel(command, folder, names) as (channel, stream):
            output = b"".join(iter(lambda: stream.read(READ_AHEAD), b""))
            if channel.recv_exit_status() != 0 and not may_fail:
                raise RemoteInterrupted(f"{command.split()[0]!r} failed on {self._settings.host}")
            return output

    @contextlib.contextmanager
    def _channel(self, command: str, folder: str, names: Iterable[str]) -> Iterator[tuple[paramiko.Channel, "_Stream"]]:
        channel = self._transport.open_session(ssh.WINDOW_BYTES, ssh.PACKET_BYTES, timeout=ssh.CONNECT_SECONDS)
        try:
            channel.settimeout(ssh.STALL_SECONDS)
            marker = f"printf %s {quote(OUTPUT_MARKER.decode())}"
            channel.exec_command(f"cd {quote(folder)} && {marker} && LC_ALL=C exec sh -c {quote(command)}")
            # In another thread, because both pipes are finite: a long list fills one while nobody reads the other.
            threading.Thread(target=_feed, args=(channel, list(names)), daemon=True).start()
            yield channel, _Stream(channel)
        finally:
            channel.close()

    @property
    def _transport(self) -> paramiko.Transport:
        assert self._client is not None
        transport = self._client.get_transport()
        assert transport is not None
        return transport

    @contextlib.contextmanager
    def _connection(self) -> Iterator[None]:
        """Connect if necessary; an error in the block closes the connection and is raised as RemoteInterrupted."""
        try:
            if self._client is None:
                self._client = ssh.connect(self._settings, read_key(str(self._settings.key)))
            yield
        except (paramiko.SSHException, EOFError, OSError) as error:
            self._disconnect()
            reason = "no answer for too long" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            raise RemoteInterrupted(f"the connection to {self._settings.host} broke ({reason})") from None
        except RemoteInterrupted:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None


class _Stream:
    """The output of a command as a file whose read() returns the bytes that have arrived, and waits for no more."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._buffer: bytes | None = None  # arrived with OUTPUT_MARKER, after it; None before the marker has arrived

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; none at the end."""
        if self._buffer is None:
            self._buffer = self._read_past_marker()
        if not self._buffer:
            return self._channel.recv(size)
        content = self._buffer[:size]
        self._buffer = self._buffer[size:]
        return content

    def _read_past_marker(self) -> bytes:
        output = b""
        while OUTPUT_MARKER not in output and len(output) < MAX_GREETING_BYTES:
            more = self._channel.recv(READ_AHEAD)
            if not more:
                return b""  # the command did not start: its exit status says so
            output += more
        return output.partition(OUTPUT_MARKER)[2]


def _feed(channel: paramiko.Channel, names: list[str]) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # the reading side gets the error, too
        for start in range(0, len(names), 1000):
            channel.sendall(b"".join(os.fsencode(name) + b"\0" for name in names[start : start + 1000]))
        channel.shutdown_write()
