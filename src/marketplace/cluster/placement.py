"""Run work in processes of this machine, or on the workers of a cluster. The results are the same."""

import functools
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from marketplace.cluster.connection import uses_cluster
from marketplace.cluster.tasks import run_on_cluster
from marketplace.common.errors import MarketplaceError
from marketplace.common.progress import progress_bar
from marketplace.compute.parallel import run_in_parallel
from marketplace.compute.user_cache import keep, read_kept, user_cache

log = logging.getLogger(__name__)

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def map_shards(work: Callable[..., Result], tasks: list[tuple[Any, ...]], description: str) -> Iterator[Result]:
    """Yield `work(*task)` for every shard's task, with a progress bar: from a cluster's workers if there is one."""
    results = run_on_cluster(work, tasks) if uses_cluster() else run_in_parallel(work, tasks)
    return iter(progress_bar(results, total=len(tasks), description=description, unit="shard"))


def apply_to_each(function: Callable[[Argument], Result], arguments: Sequence[Argument]) -> Iterator[Result]:
    """Yield `function(argument)` for every argument: in this process, or from a cluster's workers if there is one.

    For functions that use all cores themselves. Workers read the function, which may hold large arrays, from a file of
    the cache.
    """
    if not uses_cluster():
        yield from map(function, arguments)
        return
    import joblib  # it maps arrays into memory, so that the processes of a machine hold them once

    with tempfile.TemporaryDirectory(dir=user_cache("shared")) as folder:
        path = Path(folder).resolve() / "function"
        if keep(path, lambda file: joblib.dump(function, file), loss="this process does the workers' work"):
            yield from run_on_cluster(_apply, [(path, argument) for argument in arguments])
        else:
            yield from map(function, arguments)


def store_on_workers(write_pack: Callable[[np.ndarray], bool], parts: Sequence[np.ndarray], progress: Any) -> None:
    """Have a cluster's workers compute and store results: `write_pack(rows)` for every part, `(n,)` row numbers.

    `progress` counts the rows. A result that a worker could not store is still missing afterwards, with a warning.
    """
    for rows, stored in zip(parts, apply_to_each(write_pack, parts), strict=True):
        progress.update(len(rows))
        if not stored:
            log.warning("a worker could not store its results (its log says why): they are computed here instead")


def _apply(path: Path, argument: Any) -> Any:
    return _load(path)(argument)


@functools.lru_cache(maxsize=1)
def _load(path: Path) -> Any:
    import joblib

    if read_kept(path) is None:
        raise MarketplaceError(f"{path} is damaged: run the stage again.")
    return joblib.load(path, mmap_mode="r")
