"""What stands between a stranger's request and the application: ASGI middleware.

See https://asgi.readthedocs.io/en/latest/specs/www.html for what a middleware is called with.
"""

import asyncio
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    # Nothing is loaded from elsewhere, and no script but our own runs, whatever a product's text contains.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
STALL_SECONDS = 15.0  # without a byte of the body
BODY_SECONDS = 60.0  # for all of it


class SafeHeaders:
    """Adds to every answer what keeps a browser from running or loading anything foreign."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class ForwardedPrefix:
    """Adopts the prefix that a proxy serves the application under, from X-Forwarded-Prefix.

    The page works under any prefix by itself, since its addresses are relative.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            prefix = Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")
            if prefix.startswith("/"):
                scope = {**scope, "root_path": prefix}
        await self._app(scope, receive, send)


class EncodedPaths:
    """Routes by the path as it was sent: decoded, the id `a/similar` could not be told from a question about `a`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and scope.get("raw_path"):
            scope = {**scope, "path": scope["raw_path"].decode("ascii")}
        await self._app(scope, receive, send)


class HeadAsGet:
    """Answers HEAD as GET, without the body."""

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


class BoundedBodies:
    """Gives up on a body that is too large or does not come, whatever its headers announce.

    A half-sent upload would hold its connection, and a shutdown, for ever.
    """

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app, self._most_bytes = app, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request: 413 or 408 in place of the application, which is told that the client has gone."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdecimal() or int(announced) > self._most_bytes:
            await _refusal(413, too_large(self._most_bytes))(scope, receive, send)
            return
        body = _Body(receive, self._most_bytes)

        async def send_unless_given_up(message: Message) -> None:
            if body.given_up is None:
                await send(message)

        try:
            await self._app(scope, body.receive, send_unless_given_up)
        except Exception:
            if body.given_up is None:
                raise
        if body.given_up is not None:
            await _refusal(*body.given_up)(scope, receive, send)


def _refusal(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status, {"Connection": "close"})


class _Body:
    """A request's body as it arrives."""

    def __init__(self, receive: Receive, most_bytes: int) -> None:
        self._receive, self._most_bytes = receive, most_bytes
        self._deadline = time.monotonic() + BODY_SECONDS
        self._received, self._complete = 0, False
        self.given_up: tuple[int, str] | None = None  # status and detail

    async def receive(self) -> Message:
        """The next part; that the client has gone if there is no use in waiting for it."""
        if self._complete:  # what is waited for now is the end of the connection
            return await self._receive()
        patience = min(STALL_SECONDS, self._deadline - time.monotonic())
        try:
            message = await asyncio.wait_for(self._receive(), max(0.01, patience))
        except TimeoutError:
            self.given_up = 408, "the rest of the photo did not come"
            return {"type": "http.disconnect"}
        self._received += len(message.get("body", b""))
        if self._received > self._most_bytes:
            self.given_up = 413, too_large(self._most_bytes)
            return {"type": "http.disconnect"}
        self._complete = not message.get("more_body", False)
        return message


def too_large(most_bytes: int) -> str:
    """What is said to a client that sends more."""
    return f"a photo of at most {most_bytes // 2**20} MiB, please"
