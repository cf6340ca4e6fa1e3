"""Commands on a machine that is reached by SSH: each runs in a folder, and its output is read in bounded memory."""

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from shlex import quote

import paramiko

from marketplace.sources import ssh
from marketplace.sources.bounds import Pace
from marketplace.sources.mirror import RemoteInterrupted
from marketplace.sources.transport import PACKET_BYTES, WINDOW_BYTES

READ_AHEAD = 2**18  # bytes
# Precedes the output of every command: an account's start files may print a greeting, which is no part of it.
OUTPUT_MARKER = b"\n--- marketplace begins ---\n"
MAX_GREETING_BYTES = 2**20


class Command:
    """A command that runs on a machine. Reading raises OSError and paramiko.SSHException if the connection breaks."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._pace = Pace(ssh.STALL_SECONDS)
        self._buffer: bytes | None = None  # arrived with OUTPUT_MARKER, after it; None before the marker has arrived

    def read(self, size: int) -> bytes:
        """Return the bytes of standard output that have arrived, at most `size`; none at the end."""
        if self._buffer is None:
            self._buffer = self._read_past_marker()
        if not self._buffer:
            return self._receive(size)
        content = self._buffer[:size]
        self._buffer = self._buffer[size:]
        return content

    def records(self, max_bytes: int) -> Iterator[bytes]:
        """Yield the records of the output, each of which a NUL ends.

        Raises RemoteInterrupted if the last one has no end, or one is longer than `max_bytes`.
        """
        rest = b""
        while part := self.read(READ_AHEAD):
            *records, rest = (rest + part).split(b"\0")
            if len(rest) > max_bytes or any(len(record) > max_bytes for record in records):
                raise RemoteInterrupted(f"a line of more than {max_bytes} bytes came")
            yield from records
        if rest:
            raise RemoteInterrupted("the last line was cut off")

    def exit_status(self) -> int:
        """Wait for the command's end and return its exit status; -1 if the machine does not say."""
        if not self._channel.status_event.wait(ssh.STALL_SECONDS):
            raise TimeoutError("no exit status")
        return int(self._channel.exit_status)

    def _receive(self, size: int) -> bytes:
        return self._pace.receive(self._channel.recv, size)

    def _read_past_marker(self) -> bytes:
        output = b""
        while OUTPUT_MARKER not in output and len(output) < MAX_GREETING_BYTES:
            more = self._receive(READ_AHEAD)
            if not more:
                return b""  # the command did not start: its exit status says so
            output += more
        if OUTPUT_MARKER not in output:
            raise paramiko.SSHException("its greeting has no end")
        return output.partition(OUTPUT_MARKER)[2]


@contextlib.contextmanager
def run(transport: paramiko.Transport, command: str, folder: str = ".", names: Iterable[str] = ()) -> Iterator[Command]:
    """Run a command in a folder; it reads `names`, each ended by a NUL, from its standard input.

    Its messages are dropped where they arise: those about thousands of photos would fill the channel, which nobody
    empties of them.
    """
    channel = transport.open_session(WINDOW_BYTES, PACKET_BYTES, timeout=ssh.CONNECT_SECONDS)
    try:
        channel.settimeout(ssh.STALL_SECONDS)
        marker = f"printf %s {quote(OUTPUT_MARKER.decode())}"
        script = quote(f"exec 2>/dev/null; {command}")
        with ssh.closed_if_silent(channel):
            channel.exec_command(f"cd {quote(folder)} && {marker} && LC_ALL=C exec sh -c {script}")
        # In another thread, because both pipes are finite: a long list fills one while nobody reads the other.
        threading.Thread(target=_feed, args=(channel, list(names)), daemon=True).start()
        yield Command(channel)
    finally:
        channel.close()


def _feed(channel: paramiko.Channel, names: list[str]) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # the reading side gets the error, too
        for start in range(0, len(names), 1000):
            channel.sendall(b"".join(os.fsencode(name) + b"\0" for name in names[start : start + 1000]))
        channel.shutdown_write()
