"""A Dask cluster that takes the place of local processes if $MARKETPLACE_SCHEDULER names its scheduler.

Tasks and their small results travel through the scheduler. Files do not: all machines see the repository and the cache
under the same paths. docs/SCALE.md says how to start a cluster.
"""

import atexit
import functools
import logging
import os
import platform
import re
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from marketplace.cluster.worker_checks import (
    REMEDY,
    SCHEDULER,
    UNSET,
    check_shared,
    check_workers,
    facts,
    short_hash,
)
from marketplace.common.errors import MarketplaceError, first_line
from marketplace.common.files import CACHE, user_cache
from marketplace.compute.interrupts import held_interrupts
from marketplace.compute.packs import CACHE_GIB

log = logging.getLogger(__name__)

Result = TypeVar("Result")

ADDRESS = re.compile(r"(tcp|tls)://[^/\s]+:\d{1,5}")
CONNECT_SECONDS = 10
WORKERS_SECONDS = 60  # how long a run waits for a first worker, or for another one once all are gone


def is_used() -> bool:
    """True if work goes to a cluster."""
    return bool(_address())


def _address() -> str:
    return os.environ.get(SCHEDULER, "").strip()


@dataclass(frozen=True)
class Sender:
    """What a worker takes over from the process that sends a task."""

    folder: Path  # the working directory
    environment: tuple[tuple[str, str], ...]
    n_threads: int  # for one task: another number may round otherwise
    facts: str  # a hash of them


def run(work: Callable[..., Result], tasks: Sequence[tuple[Any, ...]]) -> Iterator[Result]:
    """Yield `work(*task)` for every task, in the order of the tasks, from the cluster's workers.

    The task of a worker that dies is done by another one. An error, Ctrl-C or a caller that stops iterating drops the
    tasks that have not begun, and waits for those that have.

    Raises MarketplaceError if the cluster cannot be used or is lost, and whatever a task raises.
    """
    sender = _sender()
    return _results(_checked(_address(), sender), sender, [(work, task) for task in tasks])


def _results(client: Any, sender: Sender, calls: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
    with held_interrupts() as let_through:
        with _reached(client):
            futures = deque(client.submit(_do, sender, *call, pure=False) for call in calls)
        try:
            while futures:
                while not _is_done(client, futures[0]):
                    let_through()
                yield _result(client, futures.popleft())
        finally:
            if futures:
                with _reached(client):
                    client.cancel(list(futures))
                _wait_until_idle(client, sender)


def _result(client: Any, future: Any) -> Any:
    from distributed import KilledWorker

    # What a task raised is known here, and raised as it is; a result has yet to come from the scheduler.
    coming = nullcontext() if future.status == "error" else _reached(client)
    try:
        with coming:
            return future.result()
    except KilledWorker:
        raise MarketplaceError(
            "several workers in a row died of one task, most likely since memory ran out: start fewer on each machine. "
            "Nothing half-written is left."
        ) from None


def _do(sender: Sender, work: Callable[..., Result], task: tuple[Any, ...]) -> Result:
    """Do a task in a worker's process as a process of the sender's machine would."""
    import torch
    from threadpoolctl import threadpool_limits

    if sender.facts != short_hash(facts()):
        raise MarketplaceError(
            f"a worker on {platform.node()}, which joined later, has other code, packages or another processor than "
            f"this machine: its results could differ. {REMEDY}"
        )
    os.chdir(sender.folder)
    os.environ.update(sender.environment)
    torch.set_num_threads(sender.n_threads)
    _busy_with.append(sender.folder)
    try:
        with threadpool_limits(sender.n_threads):
            return work(*task)
    finally:
        _busy_with.remove(sender.folder)


_busy_with: list[Path] = []  # in a worker's process: the sender's folder while a task runs


def _is_busy_with(folder: Path) -> bool:
    return folder in _busy_with


def _wait_until_idle(client: Any, sender: Sender) -> None:
    """Wait for the tasks of this repository that run, also those of a process that was killed: they write to it."""
    with _reached(client):
        while any(client.run(_is_busy_with, sender.folder, on_error="ignore").values()):
            time.sleep(0.2)


def _is_done(client: Any, future: Any) -> bool:
    """Wait for a second at most. Raises MarketplaceError if all workers are gone."""
    from distributed import wait

    with _reached(client):
        with suppress(TimeoutError):
            wait(future, timeout=1)
            return True
        _wait_for_workers(client)
    return False


def _sender() -> Sender:
    import torch

    environment = ((CACHE, str(user_cache("").resolve())), (CACHE_GIB, os.environ.get(CACHE_GIB, "")))
    return Sender(Path.cwd(), environment, torch.get_num_threads(), short_hash(facts()))


@functools.cache
def _checked(address: str, sender: Sender) -> Any:
    """A client of a scheduler all of whose workers may work for this process."""
    client = _connected(address)
    with _reached(client):
        _wait_for_workers(client)
        workers = _workers(client)
        check_workers(client, workers)
        for folder in (sender.folder, user_cache("").resolve()):
            check_shared(client, folder)
        _wait_until_idle(client, sender)
    log.info("working on %d workers of %s", len(workers), address)
    return client


@functools.cache
def _connected(address: str) -> Any:
    if not ADDRESS.fullmatch(address):
        raise MarketplaceError(
            f"${SCHEDULER} is {address!r}: set it to a scheduler's address, such as tcp://10.0.0.5:8786, {UNSET}."
        )
    try:
        from distributed import Client
    except ImportError:
        raise MarketplaceError(
            f"${SCHEDULER} is set, but Dask is not installed: `pip install -r requirements.lock`, {UNSET}."
        ) from None
    for name in ("distributed", "distributed.client"):  # what they report on pages is one sentence here
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise MarketplaceError(
            f"no Dask scheduler answers at {address} ({first_line(error)}): start one with `dask scheduler`, {UNSET}."
        ) from None
    atexit.register(client.close)
    return client


def _workers(client: Any) -> dict[str, Any]:
    found: dict[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    return found


def _wait_for_workers(client: Any) -> None:
    """Wait until there is a worker. Raises MarketplaceError if none comes."""
    for waited in range(WORKERS_SECONDS):
        if _workers(client):
            return
        if not waited:
            log.info("waiting for a worker")
        time.sleep(1)
    raise MarketplaceError(
        f"{_address()} has no workers: start some with `dask worker {_address()} --nthreads 1`, {UNSET}."
    )


@contextmanager
def _reached(client: Any) -> Iterator[None]:
    """Raise MarketplaceError if the scheduler does not answer what the block asks it, or forgot its tasks."""
    try:
        yield
    except CancelledError:
        raise _lost() from None
    except Exception as error:
        # Dask's own errors of connections have no number, and a client that gave up raises errors of many kinds.
        if client.status == "running" and not (isinstance(error, OSError) and error.errno is None):
            raise
        raise _lost() from None


def _lost() -> MarketplaceError:
    return MarketplaceError(
        f"the scheduler {_address()} was lost: start it and its workers again, {UNSET}. Nothing half-written is left, "
        "and what is done is found again."
    )


@dataclass(frozen=True)
class Shared:
    """Something large that lies in a file of the cache, so that tasks need not carry it."""

    path: Path

    @property
    def value(self) -> Any:
        """The thing itself; its arrays are memory-mapped."""
        return _read(self.path)


@functools.lru_cache(maxsize=1)
def _read(path: Path) -> Any:
    import joblib

    return joblib.load(path, mmap_mode="r")


@contextmanager
def shared(value: Any) -> Iterator[Shared]:
    """Write something to the cache for the tasks of the block."""
    import joblib  # maps arrays into memory: the processes of a machine hold them once

    with tempfile.TemporaryDirectory(dir=user_cache("shared")) as folder:
        path = Path(folder).resolve() / "value"
        joblib.dump(value, path)
        yield Shared(path)
