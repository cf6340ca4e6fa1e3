"""ASGI middleware for the addresses of requests: as a client writes them, and as a proxy passes them on.

https://asgi.readthedocs.io/en/latest/specs/www.html describes the arguments of a middleware.
"""

import argparse
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marketplace.serving.hosts import path_prefix

ABSOLUTE = re.compile(rb"https?://([^/?#@\\]+)(/.*)?", re.IGNORECASE | re.DOTALL)


class AbsoluteForm:
    """Answers a request whose target is a whole address like the same request for its path.

    Its host then counts instead of the Host header (https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        target = scope.get("raw_path") if scope["type"] == "http" else None
        address = ABSOLUTE.fullmatch(target) if target else None
        if address is not None:
            host, path = address.groups(default=b"/")
            headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
            # EncodedPaths routes by the raw path.
            scope = {**scope, "headers": [(b"host", host), *headers], "raw_path": path, "path": path.decode("ascii")}
        await self._app(scope, receive, send)


class Prefix:
    """Routes below the prefix that a proxy serves the application under, whether or not the proxy takes it away.

    The prefix is the server's own, or without one X-Forwarded-Prefix. OpenAPI names it. The page does not need it: its
    addresses are relative.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request: 400 if X-Forwarded-Prefix is not a path."""
        if scope["type"] == "http":
            try:
                prefix = self._prefix or path_prefix(Headers(scope=scope).get("x-forwarded-prefix", ""))
            except argparse.ArgumentTypeError:
                detail = "X-Forwarded-Prefix is not a path such as /shop"
                await JSONResponse({"detail": detail}, status_code=400)(scope, receive, send)
                return
            scope = _below(prefix, scope)
        await self._app(scope, receive, send)


def _below(prefix: str, scope: Scope) -> Scope:
    """Return a scope whose paths begin with the prefix, as Starlette expects it."""
    path = scope["path"]
    if path == prefix or path.startswith(f"{prefix}/"):
        return {**scope, "root_path": prefix}
    scope = {**scope, "root_path": prefix, "path": prefix + path}
    if scope.get("raw_path"):
        scope["raw_path"] = prefix.encode("ascii") + scope["raw_path"]
    return scope


class RelativeRedirects:
    """Makes redirects relative: the address that the client used is known only to the client.

    The application redirects only to add or remove slashes at the end of a path, which has to be encoded.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def send_relative(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if "location" in headers:
                    _, mark, query = headers["location"].partition("?")
                    headers["location"] = _other_form(scope["path"]) + mark + query
            await send(message)

        await self._app(scope, receive, send_relative)


def _other_form(path: str) -> str:
    """Return the relative address of a path without its slashes at the end, or with one if it has none.

    >>> _other_form("/shop"), _other_form("/api/map/"), _other_form("/api/map//")
    ('./shop/', '../map', '../../map')
    """
    stem = path.rstrip("/")
    last = stem.rpartition("/")[2]
    n_slashes = len(path) - len(stem)
    return "../" * n_slashes + last if n_slashes else f"./{last}/"


class EncodedPaths:
    """Routes by the path as it was sent. Once decoded, the id `a/similar` would look like a question about `a`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and scope.get("raw_path"):
            scope = {**scope, "path": scope["raw_path"].decode("ascii")}
        await self._app(scope, receive, send)
