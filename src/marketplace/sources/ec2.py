"""A dump on an EC2 machine, or any other that answers SSH; the private key for it is in an S3 bucket.

If the machine has a shell and GNU tar, photos come as one tar stream, so that a small file costs no round trip.
If it allows SFTP alone, several sessions read at once. No more than one session is open otherwise: some servers allow
no second one.
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

READ_AHEAD = 2**18
HELLO = "marketplace"
HAS_TOOLS = f"find --version && tar --version | grep -q GNU && sha256sum --version && xargs --version && echo {HELLO}"
# Comes before what a command writes: an account's start files may print a greeting, which is no part of it.
BEGIN = b"\n--- marketplace begins ---\n"
LONGEST_GREETING = 2**20
UNREADABLE = "unreadable"  # the version of a photo that the account may not read


class Ec2Dump:
    """The folder `fetch.ec2.path` of a machine; a Remote (see `marketplace.sources.mirror`)."""

    def __init__(self, settings: Ec2Settings) -> None:
        for name in ("host", "path", "key"):
            if getattr(settings, name) is None:
                raise MarketplaceError(f"fetch.ec2.{name} is not set: fetch.source=ec2 needs it.")
        self._settings = settings
        path = str(settings.path)
        self._folder = path if path.startswith("/") else f"./{path}"  # no path is taken for an option
        self._client: paramiko.SSHClient | None = None

    @property
    def identity(self) -> str:
        """A text that is different for every dump."""
        return f"ssh://{self._settings.user}@{self._settings.host}:{self._settings.port}/{self._settings.path}"

    def table(self, name: str) -> bytes:
        """See Remote."""
        path = f"{self._folder}/{name}"
        with self._connected():
            self._check(self._folder, "fetch.ec2.path")
            self._check(path, f"the table {name}")
            if self._has_tools:
                return self._run(f"cat -- {quote(path)}")
            return sftp.read_file(self._transport, path)

    def list_photos(self) -> dict[str, Stamp]:
        """See Remote. Anything but a regular file (folders, links) is not listed."""
        folder = f"{self._folder}/images"
        with self._connected():
            self._check(folder, "the folder images")
            if not self._has_tools:
                return sftp.list_files(self._transport, folder)
            what = rf"\( -readable -printf '%s %T@ %f\0' -o -printf '%s {UNREADABLE} %f\0' \)"
            found = self._run(f"find . -mindepth 1 -maxdepth 1 -type f {what}", folder)
            entries = (record.split(b" ", 2) for record in found.split(b"\0") if record)
            return {os.fsdecode(name): Stamp(int(size), mtime.decode()) for size, mtime, name in entries}

    def read_photos(self, wanted: dict[str, Stamp]) -> Iterator[tuple[str, bytes | None]]:
        """See Remote."""
        with self._connected():
            if self._has_tools:
                readable = {name: stamp for name, stamp in wanted.items() if stamp.version != UNREADABLE}
                yield from ((name, None) for name in wanted if name not in readable)
                yield from self._read_tar(readable) if readable else ()
            else:
                yield from sftp.read_files(self._transport, f"{self._folder}/images", wanted)

    def checksums(self, names: list[str]) -> dict[str, str]:
        """See Remote."""
        with self._connected():
            if not names or not self._has_tools:
                return {}
            command = "xargs -0 sha256sum -z --"
            sums = self._run(command, f"{self._folder}/images", names, may_fail=True)  # some may have vanished
            return {os.fsdecode(line[66:]): line[:64].decode() for line in sums.split(b"\0") if line}

    def _read_tar(self, wanted: dict[str, Stamp]) -> Iterator[tuple[str, bytes]]:
        command = "tar --create --file=- --no-recursion --null --verbatim-files-from --files-from=-"
        with self._channel(command, f"{self._folder}/images", wanted) as (channel, output):
            try:
                stream: Any = output  # tarfile's "r|" needs no more of a file than read()
                with tarfile.open(fileobj=stream, mode="r|", bufsize=READ_AHEAD) as tar:
                    for member in tar:
                        if member.name not in wanted:
                            raise self._unasked(member.name)
                        if not member.isfile() or member.size != wanted[member.name].size:
                            return  # it changed since it was listed: what follows may be wrong too
                        content = tar.extractfile(member)
                        assert content is not None  # it is a file
                        yield member.name, content.read()
                        del wanted[member.name]  # a second one of that name was not asked for
            except tarfile.ReadError as error:
                if str(error) == "empty file" and channel.recv_exit_status() == 2:
                    return  # tar found none of them: all have vanished
                raise RemoteInterrupted(f"the stream from {self._settings.host} broke off ({error})") from None

    def _unasked(self, name: str) -> MarketplaceError:
        return MarketplaceError(
            f"{self._settings.host} sent {name!r}, which was not asked for: nothing of it was kept. "
            "Is the `tar` there the real one?"
        )

    @cached_property
    def _has_tools(self) -> bool:
        try:
            return self._run(HAS_TOOLS, may_fail=True).endswith(HELLO.encode() + b"\n")
        except paramiko.SSHException:  # it refuses to run commands
            return False

    def _check(self, path: str, what: str) -> None:
        """Raise MarketplaceError if a file or folder is not there, or may not be read."""
        if self._has_tools:
            there = self._run(f"if [ -r {quote(path)} ]; then echo 1; elif [ -e {quote(path)} ]; then echo 2; fi")
            state = there.strip()
        else:
            state = self._state_by_sftp(path)
        if not state:
            raise MarketplaceError(f"{what} is missing on {self._settings.host}: there is no {path!r}.")
        if state == b"2":
            raise MarketplaceError(
                f"{what} may not be read on {self._settings.host} by {self._settings.user!r}: {path!r}."
            )

    def _state_by_sftp(self, path: str) -> bytes:
        try:
            with sftp.session(self._transport) as client:
                client.stat(path)
            return b"1"
        except FileNotFoundError:
            return b""
        except PermissionError:
            return b"2"
        except paramiko.SSHException as error:
            raise MarketplaceError(
                f"{self._settings.host} offers neither a shell with GNU tar nor SFTP to {self._settings.user!r} "
                f"({str(error) or type(error).__name__}). If the account's start files print anything, have them be "
                "silent unless the shell is interactive."
            ) from None

    def _run(self, command: str, folder: str = ".", names: Iterable[str] = (), may_fail: bool = False) -> bytes:
        """The standard output of a command that runs in a folder and reads `names`, NUL-terminated."""
        with self._channel(command, folder, names) as (channel, stream):
            output = b"".join(iter(lambda: stream.read(READ_AHEAD), b""))
            if channel.recv_exit_status() != 0 and not may_fail:
                raise RemoteInterrupted(f"{command.split()[0]!r} failed on {self._settings.host}")
            return output

    @contextlib.contextmanager
    def _channel(self, command: str, folder: str, names: Iterable[str]) -> Iterator[tuple[paramiko.Channel, "_Stream"]]:
        channel = self._transport.open_session(ssh.WINDOW, ssh.PACKET, timeout=ssh.CONNECT_SECONDS)
        try:
            channel.settimeout(ssh.STALL_SECONDS)
            begin = f"printf %s {quote(BEGIN.decode())}"
            channel.exec_command(f"cd {quote(folder)} && {begin} && LC_ALL=C exec sh -c {quote(command)}")
            # While this thread reads: both pipes are finite, and a long list fills one before the other is read.
            feeder = threading.Thread(target=_feed, args=(channel, list(names)), daemon=True)
            feeder.start()
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
    def _connected(self) -> Iterator[None]:
        """Connect if necessary; an error on the way closes the connection and is raised as RemoteInterrupted."""
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
    """What a command writes, as a file whose read() returns what has arrived and does not wait for more."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._waiting: bytes | None = None  # arrived with BEGIN, after it; None: that has yet to come

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        if self._waiting is None:
            self._waiting = self._after_begin()
        if not self._waiting:
            content: bytes = self._channel.recv(size)
            return content
        first, self._waiting = self._waiting[:size], self._waiting[size:]
        return first

    def _after_begin(self) -> bytes:
        arrived = b""
        while BEGIN not in arrived and len(arrived) < LONGEST_GREETING:
            more = self._channel.recv(READ_AHEAD)
            if not more:
                return b""  # the command did not start: its exit status says so
            arrived += more
        return arrived.partition(BEGIN)[2]


def _feed(channel: paramiko.Channel, names: list[str]) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # the reading side sees what broke, too
        for start in range(0, len(names), 1000):
            channel.sendall(b"".join(os.fsencode(name) + b"\0" for name in names[start : start + 1000]))
        channel.shutdown_write()
