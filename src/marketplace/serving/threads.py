"""Threads for one kind of request alone: others cannot take them, and it cannot take the threads of the page."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from marketplace.serving.answers import BusyError

Answer = TypeVar("Answer")
PATIENCE_SECONDS = 10.0  # for a thread to be free


class Threads:
    """A number of threads that answer one kind of request."""

    def __init__(self, count: int) -> None:
        self._executor = ThreadPoolExecutor(count)

    async def run(self, answer: Callable[[], Answer]) -> Answer:
        """Call a function in one of the threads. Raises BusyError if none was free for PATIENCE_SECONDS."""
        asked_at = time.monotonic()

        def answer_in_time() -> Answer:
            if time.monotonic() - asked_at > PATIENCE_SECONDS:
                raise BusyError("too many others are waiting: try again in a few seconds.")
            return answer()

        return await asyncio.get_running_loop().run_in_executor(self._executor, answer_in_time)
