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
from marketplace.cluster.connection import UNSET_HINT
from marketplace.common.errors import MarketplaceError, first_line
from marketplace.compute.processor import kind_of_processor
from marketplace.compute.user_cache import CACHE_VARIABLE

REMEDY = f"Start workers from this checkout and its requirements-all.lock, on one kind of processor, {UNSET_HINT}."


def short_hash(value: object) -> str:
    """Return a hash of a value whose representation has all of its content."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


@functools.cache
def facts() -> tuple[tuple[str, str], ...]:
    """Return names and values that must be equal in two processes, or their results may differ.

    They are the processor, the code, Python and packages, as they were at the first call: a worker keeps the code that
    it has imported by then.
    """
    packages: dict[str, str] = {}
    for package in distributions():
        packages.setdefault(package.name.lower(), package.version)  # the first on the path is the one that is imported
    platform_facts = {
        "processor": kind_of_processor(),
        "marketplace code": _hash_code(),
        "Python": platform.python_version(),
    }
    return tuple((platform_facts | dict(sorted(packages.items()))).items())


def _hash_code() -> str:
    root = Path(marketplace.__file__).parent
    files = sorted(root.rglob("*.py"))
    return short_hash([(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")) for path in files])


def first_difference(theirs: dict[str, str], ours: dict[str, str]) -> str:
    """Describe the first difference between the facts of a worker and of this machine; empty if none matters.

    >>> first_difference({"numpy": "2.4.5", "mypy": "2.4.1"}, {"numpy": "2.4.6"})
    'has numpy 2.4.5, and this machine numpy 2.4.6'
    """
    names = [name for name, version in ours.items() if theirs.get(name) != version]
    if not names:
        return ""
    name = names[0]
    their_version = f"{name} {theirs[name]}" if name in theirs else f"no {name}"
    more = f" ({len(names) - 1} more differences)" if len(names) > 1 else ""
    return f"has {their_version}, and this machine {name} {ours[name]}{more}"


def check_workers(client: Any, workers: dict[str, Any]) -> None:
    """Raise MarketplaceError if a worker could give other bytes than this process."""
    for worker, description in workers.items():
        if description["nthreads"] != 1:
            raise MarketplaceError(
                f"the worker {worker} does {description['nthreads']} tasks at once in one process: start workers with "
                f"--nthreads 1, {UNSET_HINT}."
            )
    for worker, theirs in client.run(facts, on_error="return").items():
        if isinstance(theirs, Exception):
            raise MarketplaceError(f"the worker {worker} cannot run this code ({first_line(theirs)}). {REMEDY}")
        difference = first_difference(dict(theirs), dict(facts()))
        if difference:
            raise MarketplaceError(f"the worker {worker} {difference}: its results could differ. {REMEDY}")


def check_shared(client: Any, folder: Path) -> None:
    """Raise MarketplaceError if a worker and this process do not see each other's files in a folder."""
    with tempfile.TemporaryDirectory(prefix=".shared-", dir=folder) as name:
        meeting_point = Path(name)
        meeting_point.chmod(0o777)  # workers may be another user's
        (meeting_point / "question").touch()
        for worker, answer in client.run(_answer, meeting_point, on_error="return").items():
            if isinstance(answer, Exception) or not (meeting_point / answer).exists():
                reason = f" ({first_line(answer)})" if isinstance(answer, Exception) else ""
                raise MarketplaceError(
                    f"the worker {worker} does not share the folder {folder} with this machine{reason}: put the "
                    f"repository and ${CACHE_VARIABLE} on a disk that all machines see under the same path and may "
                    f"write to, {UNSET_HINT}."
                )


def _answer(folder: Path) -> str:
    """Read the other process's file in a folder and write one, whose name is returned."""
    (folder / "question").stat()
    answer = f"{platform.node()}-{os.getpid()}"
    (folder / answer).touch()
    return answer
