"""A second event loop, so that the first one is always free to say that the server runs."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio.to_thread
from starlette.types import ASGIApp, Receive, Scope, Send

PAGE_THREADS = 2 + (os.cpu_count() or 1)  # more would only wait for each other, and the loops for them


class OwnLoop:
    """Answers requests in an event loop of its own, in another thread; only `/health` in the server's.

    Parsing forms, and turning answers into JSON, would hold up a loop for longer than a health check waits.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._loop = asyncio.new_event_loop()
        self._loop.call_soon(_limit_threads)
        threading.Thread(target=self._loop.run_forever, name="answers", daemon=True).start()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or _is_about_health(scope["path"]):
            await self._app(scope, receive, send)
            return
        here = asyncio.get_running_loop()
        answer = self._app(scope, partial(_await_in, here, receive), partial(_await_in, here, send))
        await _await_in(self._loop, lambda: answer)


def _is_about_health(path: str) -> bool:
    return path.endswith("/health") and "/api/" not in path  # a proxy may have put a prefix before it


async def _await_in(loop: asyncio.AbstractEventLoop, function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    """Call a function in another loop, and wait for its result in this one."""

    async def call() -> Any:
        return await function(*arguments)

    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(), loop))


def _limit_threads() -> None:
    anyio.to_thread.current_default_thread_limiter().total_tokens = PAGE_THREADS
