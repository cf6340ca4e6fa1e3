"""Work for all cores, that Ctrl-C ends at once."""

import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


@contextmanager
def process_pool(workers: int | None = None) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes, one per core unless told otherwise; leaving the block drops what has not begun.

    Ctrl-C reaches every process of a terminal: the workers leave it to this one. Take results by `map` or, one after
    the other, by `result()`: `as_completed` and `wait` hold the locks of all futures for a moment, and an interrupt in
    that moment would leave them held for ever.
    """
    pool = ProcessPoolExecutor(workers, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
