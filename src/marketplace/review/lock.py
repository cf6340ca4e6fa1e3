"""Check that dvc.lock is up to date, without needing the data."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.fingerprints import TRAINING_DATA
from marketplace.review.revisions import WORKSPACE, Revision

MISSING_DATA = {"deleted", "not in cache"}  # DVC's words for data that has not been pulled yet


@dataclass(frozen=True)
class Stale:
    """A stage that would run again, and one reason why."""

    stage: str
    reason: str

    def __str__(self) -> str:
        return f"{self.stage}: {self.reason}"


def stale_stages(root: Path) -> list[Stale]:
    """Every reason why a stage of the repository at `root` would run again, in the order of the pipeline.

    Missing data is not a reason; a stage that read other data than the stage before it wrote, as after a careless
    merge, is one. Raises MarketplaceError if dvc.yaml or dvc.lock cannot be read.
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
    workspace = Revision.of(root, WORKSPACE)
    lock, now = workspace.stages, flattened(workspace.yaml("params.yaml") or {})
    return [Stale(stage, reason) for stage in stages for reason in _reasons(stage, status, lock, now, pulled)]


def _reasons(
    stage: str, status: dict[str, Any], lock: dict[str, Any], now: dict[str, Any], pulled: set[str]
) -> Iterator[str]:
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
                yield from _changed_params(list(what), params(lock[stage]), now)
            elif not (path in pulled and what in MISSING_DATA):
                yield f"{kind_of(path)} {path} is {what}"
        for path, what in entry.get("changed outs", {}).items():
            if not (path in pulled and what in MISSING_DATA):
                yield f"output {path} is {what}"
    yield from _read_otherwise(stage, lock)


def _changed_params(sections: list[str], before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """The parameters behind the changed sections, which are all that DVC names."""
    for name in dict.fromkeys([*before, *now]):
        if name.partition(".")[0] in {section.partition(".")[0] for section in sections}:
            if name not in before or name not in now:
                yield f"parameter {name} is {'new' if name in now else 'deleted'}"
            elif before[name] != now[name]:
                yield f"parameter {name} is modified"


def _read_otherwise(stage: str, lock: dict[str, Any]) -> Iterator[str]:
    """Data that the stage read in another state than dvc.lock says was written."""
    written = {path: md5 for entry in lock.values() for path, md5 in hashes(entry, "outs").items()}
    for path, md5 in hashes(lock[stage], "deps").items():
        if md5 != written.get(path, md5):
            yield f"data {path} is not what dvc.lock says was written"


def hashes(entry: Mapping[str, Any], kind: str) -> dict[str, str]:
    """The `deps` or `outs` of a stage in dvc.lock, path to md5."""
    return {item["path"]: item["md5"] for item in entry.get(kind, [])}


def params(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a stage in dvc.lock, by dotted name: sections as a whole are taken apart."""
    return {name: value for file in entry.get("params", {}).values() for name, value in flattened(file).items()}


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def training_data_hash(stages: Mapping[str, Any]) -> str | None:
    """The hash of the training data in dvc.lock."""
    return hashes(stages.get("clean", {}), "outs").get(TRAINING_DATA)


def kind_of(path: str) -> str:
    """The kind of a dependency: code or data."""
    return "code" if path.startswith(("src/", "stages/")) else "data"
