"""A dump on an EC2 machine, or any other that answers SSH; the private key for it is in an S3 bucket.

If the machine has a shell and GNU tar, photos come as one tar stream, so that a small file costs no round trip.
If it allows SFTP alone, several channels read at once.
"""

import contextlib
import os
import stat
import tarfile
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from shlex import quote
from typing import Any

import paramiko

from marketplace.common.errors import MarketplaceError
from marketplace.raw.parallel import held_interrupts
from marketplace.sources import ssh
from marketplace.sources.mirror import RemoteInterrupted
from marketplace.sources.photo_store import Stamp
from marketplace.sources.s3 import read_key
from marketplace.sources.ssh import Ec2Settings

SFTP_CHANNELS = 8  # sshd allows ten sessions on a connection
READ_AHEAD = 2**18
HELLO = "marketplace"
HAS_TOOLS = f"find --version && tar --version | grep -q GNU && sha256sum --version && xargs --version && echo {HELLO}"


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
        with self._connected(), self._sftp() as sftp:
            self._exists(sftp, self._folder, "fetch.ec2.path")
            path = f"{self._folder}/{name}"
            size = self._exists(sftp, path, f"the table {name}").st_size
            with sftp.open(path) as file:
                file.prefetch(size)
                content: bytes = file.read()
            if len(content) != sftp.stat(path).st_size:
                raise RemoteInterrupted(f"{name} changed while it was read")
            return content

    def list_photos(self) -> dict[str, Stamp]:
        """See Remote. Anything but a regular file (folders, links) is not listed."""
        with self._connected():
            with self._sftp() as sftp:
                self._exists(sftp, f"{self._folder}/images", "the folder images")
                if not self._has_tools:
                    return {
                        entry.filename: Stamp(int(entry.st_size or 0), str(entry.st_mtime))
                        for entry in sftp.listdir_attr(f"{self._folder}/images")
                        if stat.S_ISREG(entry.st_mode or 0)
                    }
            found = self._run(r"find . -mindepth 1 -maxdepth 1 -type f -printf '%s %T@ %f\0'")
            entries = (record.split(b" ", 2) for record in found.split(b"\0") if record)
            return {os.fsdecode(name): Stamp(int(size), mtime.decode()) for size, mtime, name in entries}

    def read_photos(self, wanted: dict[str, Stamp]) -> Iterator[tuple[str, bytes]]:
        """See Remote."""
        with self._connected():
            yield from (self._read_tar(wanted) if self._has_tools else self._read_sftp(wanted))

    def checksums(self, names: list[str]) -> dict[str, str]:
        """See Remote."""
        with self._connected():
            if not names or not self._has_tools:
                return {}
            sums = self._run("xargs -0 sha256sum -z --", names, may_fail=True)  # some may have vanished
            return {os.fsdecode(line[66:]): line[:64].decode() for line in sums.split(b"\0") if line}

    def _read_tar(self, wanted: dict[str, Stamp]) -> Iterator[tuple[str, bytes]]:
        command = "tar --create --file=- --no-recursion --null --verbatim-files-from --files-from=-"
        with self._channel(command, wanted) as channel:
            try:
                stream: Any = _Stream(channel)  # tarfile's "r|" needs no more of a file than read()
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

    def _read_sftp(self, wanted: dict[str, Stamp]) -> Iterator[tuple[str, bytes]]:
        local = threading.local()

        def read(name: str) -> tuple[str, bytes | None]:
            if not hasattr(local, "sftp"):
                local.sftp = self._open_sftp()
            try:
                with local.sftp.open(f"{self._folder}/images/{name}") as file:
                    file.prefetch(wanted[name].size)
                    return name, file.read()
            except (FileNotFoundError, PermissionError):
                return name, None

        with held_interrupts() as let_through, ThreadPoolExecutor(SFTP_CHANNELS) as pool:
            names = list(wanted)
            for start in range(0, len(names), 16 * SFTP_CHANNELS):  # bounds what waits in memory
                for name, content in pool.map(read, names[start : start + 16 * SFTP_CHANNELS]):
                    let_through()
                    if content is not None:
                        yield name, content

    @cached_property
    def _has_tools(self) -> bool:
        return self._run(HAS_TOOLS, may_fail=True).endswith(HELLO.encode() + b"\n")

    def _run(self, command: str, names: Iterable[str] = (), may_fail: bool = False) -> bytes:
        """The standard output of a command that runs in the folder of photos and reads `names`, NUL-terminated."""
        with self._channel(command, names) as channel:
            output = b"".join(iter(lambda: channel.recv(READ_AHEAD), b""))
            if channel.recv_exit_status() != 0 and not may_fail:
                raise RemoteInterrupted(f"{command.split()[0]!r} failed on {self._settings.host}")
            return output

    @contextlib.contextmanager
    def _channel(self, command: str, names: Iterable[str]) -> Iterator[paramiko.Channel]:
        assert self._client is not None
        transport = self._client.get_transport()
        assert transport is not None
        channel = transport.open_session(ssh.WINDOW, ssh.PACKET, timeout=ssh.CONNECT_SECONDS)
        try:
            channel.settimeout(ssh.STALL_SECONDS)
            channel.exec_command(f"cd {quote(self._folder + '/images')} && LC_ALL=C exec sh -c {quote(command)}")
            # While this thread reads: both pipes are finite, and a long list fills one before the other is read.
            feeder = threading.Thread(target=_feed, args=(channel, list(names)), daemon=True)
            feeder.start()
            yield channel
        finally:
            channel.close()

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

    def _open_sftp(self) -> paramiko.SFTPClient:
        assert self._client is not None
        sftp = self._client.open_sftp()
        channel = sftp.get_channel()
        assert channel is not None
        channel.settimeout(ssh.STALL_SECONDS)
        return sftp

    @contextlib.contextmanager
    def _sftp(self) -> Iterator[paramiko.SFTPClient]:
        sftp = self._open_sftp()
        try:
            yield sftp
        finally:
            sftp.close()

    def _exists(self, sftp: paramiko.SFTPClient, path: str, what: str) -> paramiko.SFTPAttributes:
        try:
            return sftp.stat(path)
        except FileNotFoundError:
            raise MarketplaceError(f"{what} is missing on {self._settings.host}: there is no {path!r}.") from None
        except PermissionError:
            raise MarketplaceError(
                f"{what} may not be read on {self._settings.host} by {self._settings.user!r}: {path!r}."
            ) from None


class _Stream:
    """A channel's output as a file whose read() returns what has arrived and does not wait for more."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        content: bytes = self._channel.recv(size)
        return content


def _feed(channel: paramiko.Channel, names: list[str]) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # the reading side sees what broke, too
        for start in range(0, len(names), 1000):
            channel.sendall(b"".join(os.fsencode(name) + b"\0" for name in names[start : start + 1000]))
        channel.shutdown_write()
