"""The connection to a Dask scheduler; each way in which it fails is one sentence."""

import atexit
import functools
import logging
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

from marketplace.common.errors import MarketplaceError, first_line

log = logging.getLogger(__name__)

SCHEDULER_VARIABLE = "MARKETPLACE_SCHEDULER"
UNSET_HINT = f"or unset ${SCHEDULER_VARIABLE} to work on this machine alone"
ADDRESS = re.compile(r"(tcp|tls)://[^/\s]+:\d{1,5}")
CONNECT_SECONDS = 10
WORKERS_SECONDS = 60  # how long a run waits for a first worker, or for another one once all are gone


def uses_cluster() -> bool:
    """Return whether $MARKETPLACE_SCHEDULER names a scheduler, so that work goes to its workers."""
    return bool(scheduler_address())


def scheduler_address() -> str:
    """Return the scheduler's address as the user wrote it; empty if there is none."""
    return os.environ.get(SCHEDULER_VARIABLE, "").strip()


@functools.cache
def connect(address: str) -> Any:
    """Return a Dask client of the scheduler at an address.

    Raises MarketplaceError if it is not an address, Dask is not installed, or no scheduler answers.
    """
    if not ADDRESS.fullmatch(address):
        raise MarketplaceError(
            f"${SCHEDULER_VARIABLE} is {address!r}: set it to a scheduler's address, such as tcp://10.0.0.5:8786, "
            f"{UNSET_HINT}."
        )
    try:
        from distributed import Client
    except ImportError:
        raise MarketplaceError(
            f"${SCHEDULER_VARIABLE} is set, but Dask is not installed: "
            f"`pip install --no-deps -r requirements-all.lock`, {UNSET_HINT}."
        ) from None
    for name in ("distributed", "distributed.client"):  # they log pages; we raise one sentence
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise MarketplaceError(
            f"no Dask scheduler answers at {address} ({first_line(error)}): start one with `dask scheduler`, "
            f"{UNSET_HINT}."
        ) from None
    atexit.register(client.close)
    return client


@contextmanager
def report_lost_scheduler(client: Any) -> Iterator[None]:
    """Raise MarketplaceError if the scheduler does not answer the block's requests, or forgot its tasks."""
    try:
        yield
    except CancelledError:
        raise _make_connection_error() from None
    except Exception as error:
        # Dask's own errors of connections have no number, and a client that gave up raises errors of many kinds.
        if client.status == "running" and not (isinstance(error, OSError) and error.errno is None):
            raise
        raise _make_connection_error() from None


def _make_connection_error() -> MarketplaceError:
    return MarketplaceError(
        f"the scheduler {scheduler_address()} was lost: start it and its workers again, {UNSET_HINT}. Nothing "
        "half-written is left, and finished work is not repeated."
    )


def workers_of(client: Any) -> dict[str, Any]:
    """Return the workers of a client's scheduler: address to description."""
    return client.scheduler_info(n_workers=-1)["workers"]


def wait_for_workers(client: Any) -> None:
    """Wait until there is a worker. Raises MarketplaceError if none comes."""
    for second in range(WORKERS_SECONDS):
        if workers_of(client):
            return
        if second == 0:
            log.info("waiting for a worker")
        time.sleep(1)
    address = scheduler_address()
    raise MarketplaceError(
        f"{address} has no workers: start some with `dask worker {address} --nthreads 1`, {UNSET_HINT}."
    )
