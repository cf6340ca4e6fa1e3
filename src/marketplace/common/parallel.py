"""A process pool that Ctrl-C cannot deadlock."""

import ctypes
import gc
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from marketplace.common import cluster
from marketplace.common.errors import MarketplaceError
from marketplace.common.interrupts import held_interrupts
from marketplace.common.progress import progress_bar

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def in_parallel(work: Callable[..., Result], tasks: Iterable[tuple[Any, ...]]) -> Iterator[Result]:
    """Yield `work(*task)` for every task, in the order of the tasks, from one process per core.

    An error, Ctrl-C or a caller that stops iterating drops the tasks that have not begun, and waits for those that
    have. Ctrl-C reaches every process of a terminal; workers ignore it and leave it to this one.
    """
    pool = ProcessPoolExecutor(initializer=_begin_worker)
    with held_interrupts() as let_through:
        try:
            for future in [pool.submit(work, *task) for task in tasks]:
                result = future.result()
                let_through()
                yield result
        except BrokenProcessPool:
            raise MarketplaceError(
                "a worker process was killed, most likely since memory ran out: close other programs, or run this on a "
                "machine with more. Nothing half-written is left."
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def each_shard(work: Callable[..., Result], tasks: list[tuple[Any, ...]], description: str) -> Iterator[Result]:
    """Yield `work(*task)` for every shard's task, with a progress bar: from a cluster's workers if there is one."""
    results = cluster.run(work, tasks) if cluster.is_used() else in_parallel(work, tasks)
    return iter(progress_bar(results, total=len(tasks), what=description, unit="shard"))


def apply_to_each(function: Callable[[Argument], Result], arguments: Sequence[Argument]) -> Iterator[Result]:
    """Yield `function(argument)` for every argument: in this process, or from a cluster's workers if there is one.

    For functions that use all cores themselves. Workers read the function, which may hold large arrays, from a file.
    """
    if not cluster.is_used():
        yield from map(function, arguments)
        return
    with cluster.shared(function) as handle:
        yield from cluster.run(_apply, [(handle, argument) for argument in arguments])


def _apply(function: cluster.Shared, argument: Any) -> Any:
    return function.value(argument)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    # Never destroy what a worker inherited: a compiled network would wait for threads that were not forked.
    gc.freeze()


def _end_with_parent() -> None:
    """Have the system end this process when its parent is killed; it would wait for work for ever.

    https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
    """
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
