"""Whether dvc.lock still tells the truth about code, parameters and data: known without having the data."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from marketplace.errors import MarketplaceError

MISSING_DATA = {"deleted", "not in cache"}  # what DVC says of data that nobody has pulled yet


@dataclass(frozen=True)
class Stale:
    """A stage that would run again, and one reason why."""

    stage: str
    reason: str

    def __str__(self) -> str:
        return f"{self.stage}: {self.reason}"


def stale_stages(root: Path) -> list[Stale]:
    """Every reason why a stage of the repository at `root` would run again, in the order of the pipeline.

    Missing data is none; that a stage read other data than another one wrote, as after a careless merge, is. Raises
    MarketplaceError when dvc.yaml or dvc.lock cannot be read.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            # DVC names stages as seen from the working directory: ../clone/dvc.yaml:fetch
            status = {name.rpartition(":")[2]: entries for name, entries in repo.status().items()}
            pulled = {out.def_path for stage in repo.index.stages for out in stage.outs if out.use_cache}
            stages = [stage.name for stage in repo.index.stages]
    except DvcException as error:
        raise MarketplaceError(f"DVC cannot read this repository's pipeline: {error}") from error
    lock_file = root / "dvc.lock"
    lock = yaml.safe_load(lock_file.read_text(encoding="utf-8"))["stages"] if lock_file.is_file() else {}
    return [Stale(stage, reason) for stage in stages for reason in _reasons(stage, status, lock, pulled)]


def _reasons(stage: str, status: dict[str, Any], lock: dict[str, Any], pulled: set[str]) -> Iterator[str]:
    if stage not in lock:
        yield "it is not in dvc.lock: it never ran"
        return
    for entry in status.get(stage, []):
        if entry == "changed command":
            yield "its command changed"
            continue
        if not isinstance(entry, dict):
            yield str(entry)
            continue
        for path, what in entry.get("changed deps", {}).items():
            if isinstance(what, dict):
                yield from (f"parameter {name} is {how}" for name, how in what.items())
            elif not (path in pulled and what in MISSING_DATA):
                yield f"{kind_of(path)} {path} is {what}"
        for path, what in entry.get("changed outs", {}).items():
            if not (path in pulled and what in MISSING_DATA):
                yield f"output {path} is {what}"
    yield from _read_otherwise(stage, lock)


def _read_otherwise(stage: str, lock: dict[str, Any]) -> Iterator[str]:
    """Data that the stage read in another state than the one that dvc.lock has its stage write."""
    written = {out["path"]: out["md5"] for entry in lock.values() for out in entry.get("outs", [])}
    for dep in lock[stage].get("deps", []):
        path = dep["path"]
        if path in written and dep["md5"] != written[path]:
            yield f"data {path} is not what dvc.lock says was written"


def kind_of(path: str) -> str:
    """Whether a dependency is code or data."""
    return "code" if path.startswith(("src/", "stages/")) else "data"
