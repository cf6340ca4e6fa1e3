"""Photos from a tar stream as GNU tar writes it, of which the sender decides nothing: neither names nor memory.

The standard library's reader gives a sender too much: names, sparse maps and headers of any length and depth.
"""

import os
import sys
import tarfile
from collections.abc import Callable, Iterator

from marketplace.sources.bounds import MAX_PHOTO_BYTES
from marketplace.sources.photo_store import Stamp

BLOCK_BYTES = 512
MAX_NAME_BYTES = 4096
PART_BYTES = 2**18  # read or skipped at once; a multiple of BLOCK_BYTES
FORMAT_OPTION = "--format=gnu"  # a long name comes as a member before its file
FILE_TYPES = (tarfile.REGTYPE, tarfile.AREGTYPE)
EXTENSION_TYPES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGLINK)


class UnexpectedMemberError(Exception):
    """The stream has a file that was not requested."""


class BrokenStreamError(Exception):
    """The stream ends early, or is no tar stream."""


class EmptyStreamError(BrokenStreamError):
    """The stream has no byte."""


class _Blocks:
    """Reads whole blocks with a function that returns at most as many bytes as it is given, and none at the end."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._is_empty = True
        self._ahead = bytearray()  # read, but not wanted yet: paramiko takes as long for a few bytes as for many

    def read(self, n_bytes: int) -> bytes:
        """Return the next bytes, without the padding after them. Raises BrokenStreamError if there are fewer."""
        n_padded = n_bytes + -n_bytes % BLOCK_BYTES
        while len(self._ahead) < n_padded:
            part = self._read(PART_BYTES)
            if not part:
                raise EmptyStreamError if self._is_empty else BrokenStreamError("unexpected end of data")
            self._is_empty = False
            self._ahead += part
        content = bytes(self._ahead[:n_bytes])
        del self._ahead[:n_padded]
        return content

    def skip(self, n_bytes: int) -> None:
        """Pass over bytes, and the padding after them."""
        for start in range(0, n_bytes, PART_BYTES):
            self.read(min(PART_BYTES, n_bytes - start))


def read_photos(read: Callable[[int], bytes], stamps: dict[str, Stamp]) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the photos that arrive with the sizes in their stamps.

    A photo that has changed since it was listed costs itself alone. After a member that GNU tar would not write, all
    others are left out.

    Raises UnexpectedMemberError for a member that was not requested or comes twice, and BrokenStreamError.
    """
    blocks = _Blocks(read)
    waiting = dict(stamps)
    while True:
        member = _next_member(blocks)
        if member is None or member.type in EXTENSION_TYPES or not 0 <= member.size <= MAX_PHOTO_BYTES:
            return
        stamp = waiting.pop(member.name, None)
        if stamp is None:
            raise UnexpectedMemberError(member.name)
        if member.type in FILE_TYPES and member.size == stamp.size:
            yield member.name, blocks.read(member.size)
        else:
            blocks.skip(member.size)


def _next_member(blocks: _Blocks) -> tarfile.TarInfo | None:
    """Return the header of the next member, with its long name if it has one; None at the end of the archive."""
    member = _read_header(blocks)
    if member is None or member.type != tarfile.GNUTYPE_LONGNAME:
        return member
    if not 0 < member.size <= MAX_NAME_BYTES:
        raise BrokenStreamError(f"a name of {member.size} bytes")
    name = os.fsdecode(blocks.read(member.size).rstrip(b"\0"))
    member = _read_header(blocks)
    if member is None or member.type == tarfile.GNUTYPE_LONGNAME:
        raise BrokenStreamError("a name without a file")
    member.name = name
    return member


def _read_header(blocks: _Blocks) -> tarfile.TarInfo | None:
    block = blocks.read(BLOCK_BYTES)
    if not any(block):
        return None
    try:
        return tarfile.TarInfo.frombuf(block, sys.getfilesystemencoding(), "surrogateescape")
    except tarfile.HeaderError as error:
        raise BrokenStreamError(str(error)) from None
