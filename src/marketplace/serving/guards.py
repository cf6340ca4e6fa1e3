"""What stands between a stranger's request and the application: ASGI middleware.

See https://asgi.readthedocs.io/en/latest/specs/www.html for what a middleware is called with.
"""

import asyncio
import time

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STALL_SECONDS = 15.0  # without a byte of the body
BODY_SECONDS = 60.0  # for all of it


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


class TimelyBodies:
    """Gives up on a body that does not come: a half-sent upload would hold its connection, and a shutdown, for ever."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; 408 if its body is late."""
        deadline = time.monotonic() + BODY_SECONDS
        complete = scope["type"] != "http"

        async def receive_in_time() -> Message:
            nonlocal complete
            if complete:  # what is waited for now is the end of the connection
                return await receive()
            patience = min(STALL_SECONDS, deadline - time.monotonic())
            message = await asyncio.wait_for(receive(), max(0.01, patience))
            complete = not message.get("more_body", False)
            return message

        try:
            await self._app(scope, receive_in_time, send)
        except TimeoutError:
            if complete:
                raise
            late = JSONResponse({"detail": "the rest of the photo did not come"}, status_code=408)
            late.headers["Connection"] = "close"
            await late(scope, receive, send)
