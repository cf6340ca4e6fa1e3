"""A process pool that Ctrl-C cannot deadlock."""

import ctypes
import gc
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from marketplace.common.errors import MarketplaceError
from marketplace.compute.interrupts import deferred_interrupts

Result = TypeVar("Result")


def run_in_parallel(work: Callable[..., Result], tasks: Iterable[tuple[Any, ...]]) -> Iterator[Result]:
    """Yield `work(*task)` for every task, in the order of the tasks, from one process per core.

    An error, Ctrl-C or a caller that stops iterating drops the tasks that have not begun, and waits for the others.
    Ctrl-C reaches every process of a terminal; workers ignore it and leave it to this one.

    Raises MarketplaceError if a worker process was killed.
    """
    pool = ProcessPoolExecutor(initializer=_begin_worker)
    with deferred_interrupts() as raise_pending:
        try:
            for future in [pool.submit(work, *task) for task in tasks]:
                result = future.result()
                raise_pending()
                yield result
        except BrokenProcessPool:
            raise MarketplaceError(
                "a worker process was killed, most likely because memory ran out: close other programs, or run this "
                "on a machine with more. Nothing half-written is left."
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    # Never destroy objects that a worker inherited: a compiled network would wait for threads that were not forked.
    gc.freeze()


def _end_with_parent() -> None:
    """Have the OS end this process when its parent is killed; otherwise it would wait for work forever.

    https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
    """
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
