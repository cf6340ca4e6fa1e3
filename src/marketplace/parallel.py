"""Work for all cores, and Ctrl-C that finds no lock held."""

import gc
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Result = TypeVar("Result")


@contextmanager
def held_interrupts() -> Iterator[Callable[[], None]]:
    """Hold Ctrl-C back in the block: it comes when the function that is yielded is called, or at the block's end.

    Python raises KeyboardInterrupt between any two instructions, also where `concurrent.futures` has just taken a lock
    and not yet begun to see to its release. The pool then waits for that lock for ever.
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


def in_parallel(work: Callable[..., Result], tasks: Iterable[tuple[Any, ...]]) -> Iterator[Result]:
    """Yield `work(*task)` of every task, in the order of the tasks, from one process per core.

    An error, Ctrl-C or the end of interest drops the tasks that have not begun, and waits for those that have. Ctrl-C
    reaches every process of a terminal: the workers leave it to this one.
    """
    pool = ProcessPoolExecutor(initializer=_begin_worker)
    with held_interrupts() as let_through:
        try:
            for future in [pool.submit(work, *task) for task in tasks]:
                result = future.result()
                let_through()
                yield result
        finally:
            pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a worker inherits is never destroyed there: a compiled network would wait for threads that were not forked.
    gc.freeze()
