"""Connections to the server: never more than the system has room for, and none that only waits."""

import asyncio
import os
import resource
import socket
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from marketplace.common.errors import MarketplaceError, first_line

MOST_CONNECTIONS = 500
BACKLOG = 100  # connections that the system holds until they are accepted, all at once
OTHER_FILES = 100  # that the server has open: indexes, models, libraries
HEADER_SECONDS = 10.0  # for all of a request's headers
READ_SECONDS = 30.0  # in which a client takes none of an answer
FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def most_connections() -> int:
    """How many connections may be open at once, each with a file for its upload; raises the system's limit if it may.

    At that limit, asyncio would log a traceback for each connection that it cannot accept, a hundred times a second.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OTHER_FILES + BACKLOG + 2 * MOST_CONNECTIONS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, (soft - OTHER_FILES - BACKLOG) // 2))


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens there: nothing else can any more. Raises MarketplaceError if it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else first_line(error)
        raise MarketplaceError(
            f"cannot listen on {host}, port {port} ({why}): end what listens there, or name another address with "
            "--host or another port with --port."
        ) from None


class BoundedConnection(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Uvicorn's HTTP connection, closed if a request's headers do not come or an answer is not read."""

    most_connections = MOST_CONNECTIONS

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request; send the client away if there are too many."""
        super().connection_made(transport)
        self._headers: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None
        if len(self.connections) > self.most_connections:
            transport.write(FULL)
            transport.close()
        else:
            self._headers = self.loop.call_later(HEADER_SECONDS, self._end_silence)

    def data_received(self, data: bytes) -> None:
        """Take in a part of a request."""
        super().data_received(data)
        if not self._between_requests():
            self._headers = _cancelled(self._headers)
        elif self._headers is None:
            self._headers = self.loop.call_later(HEADER_SECONDS, self._end_silence)

    def pause_writing(self) -> None:
        """The client does not read as fast as the server writes."""
        super().pause_writing()
        self._watch_reading()

    def resume_writing(self) -> None:
        """The client has read most of what was written."""
        super().resume_writing()
        self._reading = _cancelled(self._reading)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        super().connection_lost(exc)
        self._headers, self._reading = _cancelled(self._headers), _cancelled(self._reading)

    def _between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _end_silence(self) -> None:
        self._headers = None
        if self._between_requests():
            self.transport.abort()

    def _watch_reading(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._reading = self.loop.call_later(READ_SECONDS, self._end_unread, unread)

    def _end_unread(self, unread_before: int) -> None:
        if self.transport.get_write_buffer_size() < unread_before:
            self._watch_reading()
        else:
            self.transport.abort()


def _cancelled(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Cancel a timer; returns what to remember in its place."""
    if timer is not None:
        timer.cancel()
    return None
