"""A queue for questions that run the image model."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from marketplace.serving.answers import BusyError


class PhotoQueue:
    """Lets one question at a time run the image model, while a limited number of others wait.

    A photo keeps all cores busy and may take a gigabyte to decode: two at once would take longer than one after the
    other.
    """

    def __init__(self, capacity: int) -> None:
        self._slots = threading.BoundedSemaphore(capacity)
        self._turn = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn. Raises BusyError if the queue is full."""
        if not self._slots.acquire(blocking=False):
            raise BusyError("too many photos are queued: try again in a few seconds.")
        try:
            with self._turn:
                yield
        finally:
            self._slots.release()

    @property
    def full(self) -> bool:
        """Whether the next question would raise BusyError."""
        has_slot = self._slots.acquire(blocking=False)
        if has_slot:
            self._slots.release()
        return not has_slot
