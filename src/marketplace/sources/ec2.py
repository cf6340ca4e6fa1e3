"""A dump on an EC2 machine, or any other that you can reach by SSH; its private key is in an S3 bucket.

If the machine has a shell and GNU tar, photos come as one tar stream, so that a small file costs no round trip.
If it allows only SFTP, several sessions read at once. Otherwise one session at a time is open: some servers allow no
second one.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from shlex import quote
from typing import NamedTuple

import paramiko

from marketplace.common.errors import MarketplaceError
from marketplace.sources import sftp, shell, ssh, tar_stream
from marketplace.sources.addresses import find_address, find_key_file
from marketplace.sources.bounds import read_table, read_up_to
from marketplace.sources.known_hosts import KnownHosts
from marketplace.sources.listing import TABLES
from marketplace.sources.mirror import RemoteInterrupted
from marketplace.sources.photo_store import Stamp
from marketplace.sources.s3 import read_key
from marketplace.sources.ssh import Ec2Settings

TOOLS_MARKER = "marketplace"
TOOLS_CHECK = (
    f"find --version && tar --version | grep -q GNU && sha256sum --version && xargs --version && echo {TOOLS_MARKER}"
)
MAX_ANSWER_BYTES = 2**16  # of commands that say little
MAX_SHOWN_BYTES = 100  # in an error
MAX_RECORD_BYTES = 2**13  # twice the longest path of Linux
LISTED_FILE = re.compile(rb"(\d{1,20}) (\S{1,50}) (.+)", re.DOTALL)
CHECKED_FILE = re.compile(rb"([0-9a-f]{64}) [ *](.+)", re.DOTALL)
UNREADABLE_VERSION = "unreadable"  # the version of a photo or folder that the account may not read
LINK_VERSION = "link"
LIST_COMMAND = (
    rf"find . -mindepth 1 \( -type d \( ! -readable -o ! -executable \) -printf '0 {UNREADABLE_VERSION} %P\0' -prune"
    rf" -o -type l -printf '0 {LINK_VERSION} %P\0'"
    rf" -o -type f \( -readable -printf '%s %T@ %P\0' -o -printf '%s {UNREADABLE_VERSION} %P\0' \) \)"
)

LIST_TABLES_COMMAND = rf"find -L {' '.join(TABLES)} -printf '%s %T@ %p\0'"


class Part(NamedTuple):
    """A part of a dump."""

    name: str
    description: str
    kind: str  # file or folder


PARTS = (
    Part(name="", description="fetch.ec2.path", kind="folder"),
    Part(name="products.csv", description="the table products.csv", kind="file"),
    Part(name="images.csv", description="the table images.csv", kind="file"),
    Part(name="images", description="the folder images", kind="folder"),
)
STATE_TEST = """if [ ! -e {path} ]; then echo missing; elif [ ! {kind} {path} ]; then echo irregular
elif [ ! -r {path} ]; then echo unreadable; elif [ ! -L {path} ]; then echo sound
else case "$(readlink -f {path})" in "${{root%/}}"/*) echo sound;; *) echo outside;; esac
fi"""
PROBLEMS = {  # by the answer of STATE_TEST, the first of them first
    "missing": "{what} is missing on {host}: there is no {path!r}.",
    "irregular": "{what} is not a {kind} on {host}: {path!r}.",
    "unreadable": "{what} is not readable on {host} for {user!r}: {path!r}.",
    "outside": "{what} on {host} is a link that leads out of the dump, and is not followed: copy what it leads to in "
    "place of {path!r}.",
}


class Ec2Dump:
    """The folder `fetch.ec2.path` of a machine; a Remote (see `marketplace.sources.mirror`)."""

    def __init__(self, settings: Ec2Settings) -> None:
        for name in ("host", "path"):
            if getattr(settings, name) is None:
                raise MarketplaceError(f"fetch.ec2.{name} is not set: fetch.source=ec2 needs it.")
        self._settings = settings
        self._address = find_address(str(settings.host), settings.user, settings.port)
        if settings.key is None and find_key_file(self._address) is None:
            raise MarketplaceError(
                "fetch.ec2.key is not set: fetch.source=ec2 needs it, or an IdentityFile in ~/.ssh/config."
            )
        self._known_hosts = KnownHosts(settings.known_hosts)
        path = str(settings.path)
        self._folder = path if path.startswith("/") else f"./{path}"  # so that no path looks like an option
        self._connected: ssh.Connection | None = None
        self._tools: bool | None = None  # whether the machine has TOOLS_CHECK's; None: nobody has asked
        self._n_cut_off = 0  # connections that ended when a command was tried

    @property
    def identity(self) -> str:
        """A text that is different for every dump."""
        address = self._address
        return f"ssh://{address.user}@{address.host}:{address.port}/{self._settings.path}"

    def table(self, name: str) -> bytes:
        """See Remote."""
        path = f"{self._folder}/{name}"
        with self._connection() as transport:
            self._check_parts(transport)
            if not self._tools:
                return sftp.read_file(transport, path, name)
            with shell.run(transport, f"cat -- {quote(path)}") as command:
                content = read_table(command.read, name)
                if command.exit_status() != 0:
                    raise RemoteInterrupted(f"{name} broke off on {self._address.host}")
                return content

    def list_tables(self) -> Iterator[tuple[str, Stamp]]:
        """See Remote."""
        with self._connection() as transport:
            self._check_parts(transport)
            if not self._tools:
                yield from sftp.stat_files(transport, self._folder, TABLES)
                return
            yield from self._list_files(transport, LIST_TABLES_COMMAND, self._folder, "the tables")

    def list_photos(self) -> Iterator[tuple[str, Stamp]]:
        """See Remote. Files in subfolders are listed; links are left behind, with a warning."""
        folder = f"{self._folder}/images"
        with self._connection() as transport:
            self._check_parts(transport)
            if not self._tools:
                yield from sftp.list_files(transport, folder)
                return
            n_links = 0
            for name, stamp in self._list_files(transport, LIST_COMMAND, folder, "images/"):
                if stamp.version == LINK_VERSION:
                    n_links += 1
                else:
                    yield name, stamp
            sftp.warn_of_links(n_links)

    def read_photos(self, stamps: dict[str, Stamp]) -> Iterator[tuple[str, bytes | None]]:
        """See Remote."""
        with self._connection() as transport:
            if not self._tools:
                yield from sftp.read_files(transport, f"{self._folder}/images", stamps)
                return
            readable = {}
            for name, stamp in stamps.items():
                if stamp.version == UNREADABLE_VERSION:
                    yield name, None
                else:
                    readable[name] = stamp
            if readable:
                yield from self._read_tar(transport, readable)

    def checksums(self, names: list[str]) -> dict[str, str] | None:
        """See Remote."""
        with self._connection() as transport:
            if not self._tools:
                return None
            expected = set(names)
            checksums = {}
            # Its exit status says nothing: some may have vanished.
            with shell.run(transport, "xargs -0 sha256sum -z --", f"{self._folder}/images", names) as command:
                for sha256, name in self._read_records(command, CHECKED_FILE):
                    if os.fsdecode(name) not in expected:
                        raise self._unexpected_error("sha256sum", name)
                    expected.remove(os.fsdecode(name))
                    checksums[os.fsdecode(name)] = sha256.decode()
            return checksums

    def _list_files(
        self, transport: paramiko.Transport, find: str, folder: str, content: str
    ) -> Iterator[tuple[str, Stamp]]:
        """Yield the names and stamps of the files that a `find` command prints as LISTED_FILE."""
        with shell.run(transport, find, folder) as command:
            for size, version, name in self._read_records(command, LISTED_FILE):
                yield os.fsdecode(name), Stamp(size=int(size), version=version.decode("ascii", "replace"))
            if command.exit_status() != 0:
                raise RemoteInterrupted(f"the listing of {content} broke off on {self._address.host}")

    def _read_records(self, command: shell.Command, pattern: re.Pattern[bytes]) -> Iterator[tuple[bytes, ...]]:
        """Yield the groups of `pattern` in every record of a command's output."""
        for record in command.records(MAX_RECORD_BYTES):
            match = pattern.fullmatch(record)
            if match is None:
                raise self._unexpected_error("find` or `sha256sum", record)
            yield match.groups()

    def _read_tar(self, transport: paramiko.Transport, stamps: dict[str, Stamp]) -> Iterator[tuple[str, bytes]]:
        options = "--no-recursion --null --verbatim-files-from --files-from=-"
        command = f"tar --create --file=- {tar_stream.FORMAT_OPTION} {options}"
        with shell.run(transport, command, f"{self._folder}/images", stamps) as running:
            try:
                yield from tar_stream.read_photos(running.read, stamps)
            except tar_stream.UnexpectedMemberError as error:
                raise self._unexpected_error("tar", os.fsencode(str(error))) from None
            except tar_stream.BrokenStreamError as error:
                if isinstance(error, tar_stream.EmptyStreamError) and running.exit_status() == 2:
                    return  # tar found none of the photos: all have vanished
                raise RemoteInterrupted(f"the stream from {self._address.host} broke off ({error})") from None

    def _unexpected_error(self, program: str, content: bytes) -> MarketplaceError:
        return MarketplaceError(
            f"{self._address.host} sent {os.fsdecode(content[:MAX_SHOWN_BYTES])!r}, which was not requested: nothing "
            f"of it was kept. Is `{program}` there the real one?"
        )

    def _find_tools(self, transport: paramiko.Transport) -> bool:
        """Find out whether the machine has a shell with TOOLS_CHECK's programs.

        A machine that offers SFTP alone may refuse a command, end it, say nothing, or end the connection. The last is
        believed the second time: connections break for other reasons, too.
        """
        try:
            with shell.run(transport, TOOLS_CHECK) as command:
                return read_up_to(command.read, MAX_ANSWER_BYTES).endswith(TOOLS_MARKER.encode() + b"\n")
        except (paramiko.SSHException, EOFError, OSError):
            if transport.is_active():
                return False
            self._n_cut_off += 1
            if self._n_cut_off == 1:
                raise
            self._disconnect()
            return False

    def _check_parts(self, transport: paramiko.Transport) -> None:
        """Raise MarketplaceError if a part of the dump is missing, irregular, unreadable or a link out of it."""
        states = self._find_states(transport) if self._tools else self._find_states_by_sftp(transport)
        for problem, sentence in PROBLEMS.items():
            for part, state in zip(PARTS, states, strict=True):
                if state == problem:
                    address = self._address
                    path = f"{self._folder}/{part.name}".removesuffix("/")
                    raise MarketplaceError(
                        sentence.format(
                            what=part.description, host=address.host, user=address.user, kind=part.kind, path=path
                        )
                    )

    def _find_states(self, transport: paramiko.Transport) -> list[str]:
        folder = quote(self._folder)
        tests = [
            STATE_TEST.format(path=quote(f"{self._folder}/{part.name}"), kind="-d" if part.kind == "folder" else "-f")
            for part in PARTS
        ]
        with shell.run(transport, f"root=$(readlink -f {folder})\n" + "\n".join(tests)) as command:
            states = read_up_to(command.read, MAX_ANSWER_BYTES).decode("ascii", "replace").split()
        if len(states) != len(PARTS):
            raise RemoteInterrupted(f"{self._address.host} does not say what {self._folder!r} has")
        return states

    def _find_states_by_sftp(self, transport: paramiko.Transport) -> list[str]:
        try:
            with sftp.session(transport) as client:
                return [sftp.find_state(client, self._folder, part.name, part.kind) for part in PARTS]
        except paramiko.SSHException as error:
            if not transport.is_active():
                raise
            raise MarketplaceError(
                f"{self._address.host} offers neither a shell with GNU tar nor SFTP to {self._address.user!r} "
                f"({str(error) or type(error).__name__}). If the account's start files print anything, make them "
                "silent unless the shell is interactive."
            ) from None

    @contextlib.contextmanager
    def _connection(self) -> Iterator[paramiko.Transport]:
        """Connect if necessary; an error in the block closes the connection and is raised as RemoteInterrupted."""
        try:
            transport = self._connect()
            if self._tools is None:
                self._tools = self._find_tools(transport)
                transport = self._connect()  # again, if that ended the connection
            yield transport
        except (paramiko.SSHException, EOFError, OSError) as error:
            self._disconnect()
            reason = "no answer for too long" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            raise RemoteInterrupted(f"the connection to {self._address.host} broke ({reason})") from None
        except RemoteInterrupted:
            self._disconnect()
            raise

    def _connect(self) -> paramiko.Transport:
        if self._connected is None:
            settings = self._settings
            key = ssh.read_own_key(self._address) if settings.key is None else read_key(settings.key)
            assert key is not None  # __init__ found one
            self._connected = ssh.connect(self._address, key, settings.fingerprint, self._known_hosts)
        return self._connected.transport

    def _disconnect(self) -> None:
        if self._connected is not None:
            self._connected.close()
        self._connected = None
