"""Checks of a cluster's workers before any work: they give the same bytes as this process, and share its folders."""

import functools
import hashlib
import os
import platform
import tempfile
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import marketplace
from marketplace.common.errors import MarketplaceError, first_line
from marketplace.common.files import CACHE
from marketplace.compute.processor import vendor

SCHEDULER = "MARKETPLACE_SCHEDULER"  # the environment variable
UNSET = f"or unset ${SCHEDULER} to work on this machine alone"
REMEDY = f"Start workers from this checkout and its requirements.lock, on one kind of processor, {UNSET}."


def short_hash(value: object) -> str:
    """A hash of anything whose representation tells all of it."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def _code() -> str:
    root = Path(marketplace.__file__).parent
    files = sorted(root.rglob("*.py"))
    return short_hash([(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")) for path in files])


@functools.cache
def facts() -> tuple[tuple[str, str], ...]:
    """What must be equal in two processes, or their results may differ: processor, code, Python and packages.

    As it was when a process was first asked: a worker keeps the code that it has imported by then.
    """
    import torch

    packages: dict[str, str] = {}
    for package in distributions():
        packages.setdefault(package.name.lower(), package.version)  # the first on the path is the one that is imported
    processor = filter(None, [platform.machine(), vendor(), torch.backends.cpu.get_cpu_capability()])
    own = {"processor": " ".join(processor), "marketplace code": _code(), "Python": platform.python_version()}
    return tuple((own | dict(sorted(packages.items()))).items())


def difference(theirs: dict[str, str], ours: dict[str, str]) -> str:
    """The first difference between the facts of a worker and of this machine; empty if there is none that matters.

    >>> difference({"numpy": "2.4.5", "mypy": "2.4.1"}, {"numpy": "2.4.6"})
    'has numpy 2.4.5, and this machine numpy 2.4.6'
    """
    names = [name for name, version in ours.items() if theirs.get(name) != version]
    if not names:
        return ""
    first = names[0]
    has = f"{first} {theirs[first]}" if first in theirs else f"no {first}"
    more = f" ({len(names) - 1} more differences)" if len(names) > 1 else ""
    return f"has {has}, and this machine {first} {ours[first]}{more}"


def check_workers(client: Any, workers: dict[str, Any]) -> None:
    """Raise MarketplaceError if a worker could give other bytes than this process."""
    for worker, about in workers.items():
        if about["nthreads"] != 1:
            raise MarketplaceError(
                f"the worker {worker} does {about['nthreads']} tasks at once in one process: start workers with "
                f"--nthreads 1, {UNSET}."
            )
    for worker, theirs in client.run(facts, on_error="return").items():
        if isinstance(theirs, Exception):
            raise MarketplaceError(f"the worker {worker} cannot run this code ({first_line(theirs)}). {REMEDY}")
        differs = difference(dict(theirs), dict(facts()))
        if differs:
            raise MarketplaceError(f"the worker {worker} {differs}: its results could differ. {REMEDY}")


def check_shared(client: Any, folder: Path) -> None:
    """Raise MarketplaceError if a worker and this process do not see what the other writes to a folder."""
    with tempfile.TemporaryDirectory(prefix=".shared-", dir=folder) as name:
        there = Path(name)
        there.chmod(0o777)  # workers may be another user's
        (there / "question").touch()
        for worker, answer in client.run(_answer, there, on_error="return").items():
            if isinstance(answer, Exception) or not (there / answer).exists():
                why = f" ({first_line(answer)})" if isinstance(answer, Exception) else ""
                raise MarketplaceError(
                    f"the worker {worker} does not share the folder {folder} with this machine{why}: put the "
                    f"repository and ${CACHE} on a disk that all machines see under the same path and may write to, "
                    f"{UNSET}."
                )


def _answer(folder: Path) -> str:
    (folder / "question").stat()
    answer = f"{platform.node()}-{os.getpid()}"
    (folder / answer).touch()
    return answer
