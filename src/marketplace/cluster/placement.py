"""Run work in processes of this machine, or on the workers of a cluster. The results are the same."""

import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from marketplace.cluster.connection import uses_cluster
from marketplace.cluster.tasks import run_on_cluster
from marketplace.common.errors import MarketplaceError
from marketplace.common.progress import progress_bar
from marketplace.compute.parallel import run_in_parallel
from marketplace.compute.user_cache import keep, read_kept, user_cache

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


def _apply(path: Path, argument: Any) -> Any:
    return _load(path)(argument)


@functools.lru_cache(maxsize=1)
def _load(path: Path) -> Any:
    import joblib

    if read_kept(path) is None:
        raise MarketplaceError(f"{path} is damaged: run the stage again.")
    return joblib.load(path, mmap_mode="r")
