"""Where work runs: in processes of this machine, or on the workers of a cluster. The results are the same."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from marketplace.cluster import client
from marketplace.common.progress import progress_bar
from marketplace.compute.parallel import in_parallel

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def each_shard(work: Callable[..., Result], tasks: list[tuple[Any, ...]], description: str) -> Iterator[Result]:
    """Yield `work(*task)` for every shard's task, with a progress bar: from a cluster's workers if there is one."""
    results = client.run(work, tasks) if client.is_used() else in_parallel(work, tasks)
    return iter(progress_bar(results, total=len(tasks), what=description, unit="shard"))


def apply_to_each(function: Callable[[Argument], Result], arguments: Sequence[Argument]) -> Iterator[Result]:
    """Yield `function(argument)` for every argument: in this process, or from a cluster's workers if there is one.

    For functions that use all cores themselves. Workers read the function, which may hold large arrays, from a file.
    """
    if not client.is_used():
        yield from map(function, arguments)
        return
    with client.shared(function) as handle:
        yield from client.run(_apply, [(handle, argument) for argument in arguments])


def _apply(function: client.Shared, argument: Any) -> Any:
    return function.value(argument)
