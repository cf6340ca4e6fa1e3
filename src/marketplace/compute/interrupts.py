"""Ctrl-C, deferred to moments that a program chooses."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def deferred_interrupts() -> Iterator[Callable[[], None]]:
    """Defer Ctrl-C in the block until the yielded function is called, or until the block's end.

    Python raises KeyboardInterrupt between any two instructions, even right after `concurrent.futures` took a lock and
    before it arranged to release it. The pool then waits for that lock forever.
    """
    pending = False

    def note(*_: object) -> None:
        nonlocal pending
        pending = True

    def raise_pending() -> None:
        nonlocal pending
        if pending:
            pending = False
            raise KeyboardInterrupt

    handler = signal.signal(signal.SIGINT, note)
    try:
        yield raise_pending
    finally:
        signal.signal(signal.SIGINT, handler)
    raise_pending()
