"""Tasks on a Dask cluster, in place of local processes.

Tasks and their small results travel through the scheduler. Files do not: all machines see the repository and the cache
under the same paths. docs/SCALE.md says how to start a cluster.
"""

import functools
import logging
import os
import platform
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from marketplace.cluster.connection import (
    connect,
    report_lost_scheduler,
    scheduler_address,
    wait_for_workers,
    workers_of,
)
from marketplace.cluster.worker_checks import REMEDY, check_shared, check_workers, facts, short_hash
from marketplace.common.errors import MarketplaceError
from marketplace.compute.interrupts import deferred_interrupts
from marketplace.compute.user_cache import CACHE_VARIABLE, ROOM_VARIABLE, user_cache

log = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Sender:
    """The process that sends tasks, as far as workers have to be like it."""

    folder: Path  # the working directory
    environment: tuple[tuple[str, str], ...]
    n_threads: int  # for one task: another number may round otherwise
    facts_hash: str


def run_on_cluster(work: Callable[..., Result], tasks: Sequence[tuple[Any, ...]]) -> Iterator[Result]:
    """Yield `work(*task)` for every task, in the order of the tasks, from the cluster's workers.

    The task of a worker that dies is given to another one. An error, Ctrl-C or a caller that stops iterating drops the
    tasks that have not begun, and waits for the others.

    Raises MarketplaceError if the cluster cannot be used or is lost, and any error that a task raises.
    """
    environment = ((CACHE_VARIABLE, str(_cache())), (ROOM_VARIABLE, os.environ.get(ROOM_VARIABLE, "")))
    sender = Sender(folder=Path.cwd(), environment=environment, n_threads=_n_threads(), facts_hash=short_hash(facts()))
    return _results(_connect_and_check(scheduler_address(), sender), sender, work, tasks)


def _cache() -> Path:
    return user_cache("").resolve()


def _n_threads() -> int:
    """The threads of this process's numerical libraries."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


@functools.cache
def _connect_and_check(address: str, sender: Sender) -> Any:
    """Return a client of a scheduler all of whose workers may work for this process."""
    client = connect(address)
    with report_lost_scheduler(client):
        wait_for_workers(client)
        workers = workers_of(client)
        check_workers(client, workers)
        for folder in (sender.folder, _cache()):
            check_shared(client, folder)
        _wait_until_idle(client, sender.folder)
    log.info("working on %d workers of %s", len(workers), address)
    return client


def _results(
    client: Any, sender: Sender, work: Callable[..., Result], tasks: Sequence[tuple[Any, ...]]
) -> Iterator[Result]:
    with deferred_interrupts() as raise_pending:
        with report_lost_scheduler(client):
            futures = deque(client.submit(_run_task, sender, work, task, pure=False) for task in tasks)
        try:
            while futures:
                finished = _wait_for_a_second(client, futures[0])
                raise_pending()
                if finished:
                    yield _result(client, futures.popleft())
        finally:
            if futures:
                with report_lost_scheduler(client):
                    client.cancel(list(futures))
                    _wait_until_idle(client, sender.folder)


def _wait_for_a_second(client: Any, future: Any) -> bool:
    """Wait for a second at most; return whether the task is finished. Raises MarketplaceError if all workers left."""
    from distributed import wait

    with report_lost_scheduler(client):
        with suppress(TimeoutError):
            wait(future, timeout=1)
            return True
        wait_for_workers(client)
    return False


def _result(client: Any, future: Any) -> Any:
    from distributed import KilledWorker

    # A task's error is known here, and raised as it is; a result has yet to come from the scheduler.
    transfer = nullcontext() if future.status == "error" else report_lost_scheduler(client)
    try:
        with transfer:
            return future.result()
    except KilledWorker:
        raise MarketplaceError(
            "several workers in a row died of one task, most likely because memory ran out: start fewer on each "
            "machine. Nothing half-written is left."
        ) from None


def _wait_until_idle(client: Any, folder: Path) -> None:
    """Wait for the tasks of a repository that run, even of a process that was killed: they write to it."""
    while any(client.run(works_in, folder, on_error="ignore").values()):
        time.sleep(0.2)


_active_folders: list[Path] = []  # in a worker's process: the sender's folder while a task runs


def works_in(folder: Path) -> bool:
    """Return whether this process, a worker, runs a task for the repository in a folder."""
    return folder in _active_folders


def _run_task(sender: Sender, work: Callable[..., Result], task: tuple[Any, ...]) -> Result:
    """Run a task in a worker's process as a process of the sender's machine would."""
    from threadpoolctl import threadpool_limits

    if sender.facts_hash != short_hash(facts()):
        raise MarketplaceError(
            f"a worker on {platform.node()}, which joined later, has other code, packages or another processor than "
            f"this machine: its results could differ. {REMEDY}"
        )
    os.chdir(sender.folder)
    os.environ.update(sender.environment)
    _active_folders.append(sender.folder)
    try:
        with threadpool_limits(sender.n_threads):
            return work(*task)
    finally:
        _active_folders.remove(sender.folder)
