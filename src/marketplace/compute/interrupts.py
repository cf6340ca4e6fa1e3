"""Ctrl-C at moments that a program chooses."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def held_interrupts() -> Iterator[Callable[[], None]]:
    """Hold Ctrl-C back in the block: it is raised when the yielded function is called, or at the block's end.

    Python raises KeyboardInterrupt between any two instructions, even right after `concurrent.futures` took a lock and
    before it arranged to release it. The pool then waits for that lock forever.
    """
    pending = False

    def hold(*_: object) -> None:
        nonlocal pending
        pending = True

    def let_through() -> None:
        nonlocal pending
        if pending:
            pending = False
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield let_through
    finally:
        signal.signal(signal.SIGINT, before)
    let_through()
