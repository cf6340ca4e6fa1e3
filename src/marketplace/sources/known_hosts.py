"""Known_hosts files as companies have them: patterns, hashes, authorities, revoked keys, and lines that are no keys."""

import base64
import codecs
import functools
import hashlib
import logging
import re
from pathlib import Path
from typing import NamedTuple

import asyncssh

from marketplace.common.errors import MarketplaceError

log = logging.getLogger(__name__)

DEFAULT_FILES = (
    "~/.ssh/known_hosts",
    "~/.ssh/known_hosts2",
    "/etc/ssh/ssh_known_hosts",
    "/etc/ssh/ssh_known_hosts2",
)
SSH_PORT = 22


class KnownKeys(NamedTuple):
    """The keys that known_hosts files have for a machine, in OpenSSH's binary form."""

    trusted: list[bytes]
    revoked: list[bytes]
    has_authority: bool  # a line @cert-authority is for this machine


class KnownHosts:
    """The lines of the known_hosts file at `path`, or of OpenSSH's usual ones; read when they are first needed."""

    def __init__(self, path: str | None) -> None:
        self._path = path

    def find(self, host: str, port: int) -> KnownKeys:
        """Return the keys of a machine, by OpenSSH's rules for patterns and ports.

        Raises MarketplaceError if `path` is not a file.
        """
        trusted, authorities, revoked, *_ = self._hosts.match(host.lower(), "", None if port == SSH_PORT else port)
        return KnownKeys(
            trusted=[key.public_data for key in trusted],
            revoked=[key.public_data for key in revoked],
            has_authority=bool(authorities),
        )

    @functools.cached_property
    def _hosts(self) -> asyncssh.SSHKnownHosts:
        if self._path is not None and not Path(self._path).expanduser().is_file():
            raise MarketplaceError(f"fetch.ec2.known_hosts = {self._path!r} is not a file.")
        hosts = asyncssh.SSHKnownHosts()
        for name in DEFAULT_FILES if self._path is None else (self._path,):
            file = Path(name).expanduser()
            if file.is_file():
                _load(file, hosts)
        return hosts


def _load(file: Path, hosts: asyncssh.SSHKnownHosts) -> None:
    """Add the lines of a file; skip those that are no keys, with one warning."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise MarketplaceError(f"the known_hosts file {file} cannot be read: {error.strerror}.") from None
    unreadable = []
    for number, line in enumerate(_lines(content), start=1):
        if not line or line.startswith("#"):
            continue
        key = line.split(None, 2 if line.startswith("@") else 1)[-1]
        try:
            asyncssh.import_public_key(key)  # SSHKnownHosts skips lines without a key in silence
            hosts.load(line)
        except ValueError:
            unreadable.append(number)
    if unreadable:
        log.warning(
            "%s: lines that are no host keys are skipped: %d, such as line %d", file, len(unreadable), unreadable[0]
        )


def fingerprint_of(blob: bytes) -> str:
    """Return the fingerprint of a key in OpenSSH's binary form, as `ssh-keygen -lf` prints it."""
    return f"SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip('=')}"


def _lines(content: bytes) -> list[str]:
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # as PowerShell's `>` writes it
    text = content.decode("utf-16" if is_utf16 else "latin-1", errors="replace")
    text = text.removeprefix(codecs.BOM_UTF8.decode("latin-1"))
    ascii_text = text.encode("ascii", errors="replace").decode()  # other characters are in comments alone
    return [line.strip() for line in re.split("[\r\n]+", ascii_text)]
