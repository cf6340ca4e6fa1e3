"""ASGI middleware that checks requests before they reach the application, and completes its answers.

https://asgi.readthedocs.io/en/latest/specs/www.html describes the arguments of a middleware.
"""

import asyncio
import time
from collections.abc import Mapping
from types import MappingProxyType

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    # Nothing is loaded from other hosts and only our own scripts run, whatever a product's text contains.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
STALL_SECONDS = 15.0  # without a byte of the body
BODY_SECONDS = 60.0  # for the whole body
MAX_ADDRESS_BYTES = 2**14  # of a path and its query: all parameters at their limits have less
MAX_UPLOADS = 32  # at a time: twice the queue of photos
MAX_SMALL_BODY_BYTES = 2**12  # of a rating, or a form without a photo: parsing holds up other requests


class SafeHeaders:
    """Adds headers to each answer that keep a browser from running or loading anything foreign."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class HeadAsGet:
    """Answers HEAD like GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET"}, receive, send_without_body)


class LimitedRequests:
    """Rejects an address or a body that is too large, or a body that does not arrive, whatever its headers announce.

    Otherwise an unfinished upload would hold its connection, and a shutdown, forever.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request: 413, 503 or 408 in place of the application, for which the client has then disconnected."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_upload = _may_have_photo(scope["method"], headers)
        max_bytes = self._max_bytes if is_upload else MAX_SMALL_BODY_BYTES
        rejection = self._reject_unread(scope, headers, max_bytes, is_upload=is_upload)
        if rejection is not None:
            await rejection(scope, receive, send)
            return
        self._uploads += is_upload
        try:
            await self._answer(scope, _Body(receive, max_bytes), send)
        finally:
            self._uploads -= is_upload

    def _reject_unread(self, scope: Scope, headers: Headers, max_bytes: int, *, is_upload: bool) -> JSONResponse | None:
        """Return the answer to a request whose body is not read at all; None if it is read."""
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_ADDRESS_BYTES:
            return _reject(413, "the address is too long")
        announced = headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced) > max_bytes:
            return _reject(413, too_large_text(max_bytes))
        if is_upload and self._uploads >= MAX_UPLOADS:
            return _reject(503, "too many photos are being sent: try again in a few seconds.", {"Retry-After": "5"})
        return None

    async def _answer(self, scope: Scope, body: "_Body", send: Send) -> None:
        async def send_unless_rejected(message: Message) -> None:
            if body.rejection is None:
                await send(message)

        try:
            await self._app(scope, body.receive, send_unless_rejected)
        except Exception:
            if body.rejection is None:
                raise
        if body.rejection is not None:
            await body.rejection(scope, body.receive, send)


def _may_have_photo(method: str, headers: Headers) -> bool:
    return method == "POST" and not headers.get("content-type", "").startswith("application/x-www-form-urlencoded")


def _reject(status: int, detail: str, headers: Mapping[str, str] = MappingProxyType({})) -> JSONResponse:
    return JSONResponse({"detail": detail}, status, {"Connection": "close", **headers})


class _Body:
    """A request's body as it arrives."""

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._deadline = time.monotonic() + BODY_SECONDS
        self._n_bytes = 0
        self._complete = False
        self.rejection: JSONResponse | None = None  # the answer, once the body is given up

    async def receive(self) -> Message:
        """Receive the next part, or a disconnection once the body is given up."""
        if self._complete:  # the next message is the end of the connection, whenever it comes
            return await self._receive()
        seconds = min(STALL_SECONDS, self._deadline - time.monotonic())
        try:
            message = await asyncio.wait_for(self._receive(), max(0.01, seconds))
        except TimeoutError:
            self.rejection = _reject(408, "the rest of the photo did not arrive")
            return {"type": "http.disconnect"}
        self._n_bytes += len(message.get("body", b""))
        if self._n_bytes > self._max_bytes:
            self.rejection = _reject(413, too_large_text(self._max_bytes))
            return {"type": "http.disconnect"}
        self._complete = not message.get("more_body", False)
        return message


def too_large_text(max_bytes: int) -> str:
    """Return the message for a body that is too large."""
    if max_bytes == MAX_SMALL_BODY_BYTES:
        return f"the body may have at most {max_bytes} bytes"
    return f"the photo may have at most {max_bytes // 2**20} MiB"
