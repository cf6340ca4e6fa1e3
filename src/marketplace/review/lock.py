"""Check that dvc.lock is up to date, without needing the data."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.fingerprints import TRAINING_DATA
from marketplace.review.revisions import WORKSPACE, Revision

MISSING_DATA = {"deleted", "not in cache"}  # DVC's words for data that has not been pulled yet


@dataclass(frozen=True)
class StaleStage:
    """A stage that would run again, and one reason for it."""

    stage: str
    reason: str

    def __str__(self) -> str:
        return f"{self.stage}: {self.reason}"


def find_stale_stages(root: Path) -> list[StaleStage]:
    """Return every reason why a stage of the repository at `root` would run again, in the order of the pipeline.

    Missing data is not a reason. It is one if a stage read other data than the stage before it wrote, as after a
    careless merge. Raises MarketplaceError if dvc.yaml or dvc.lock cannot be read.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        # DVC names stages and files as seen from the working directory.
        with contextlib.chdir(root), Repo(".") as repo:
            status = repo.status()
            cached = {out.def_path for stage in repo.index.stages for out in stage.outs if out.use_cache}
            stages = [stage.addressing for stage in repo.index.stages if stage.addressing == stage.name]  # of dvc.yaml
    except DvcException as error:
        raise MarketplaceError(f"DVC cannot read this repository's pipeline: {error}") from error
    workspace = Revision.of(root, WORKSPACE)
    params = flatten(workspace.yaml("params.yaml") or {})
    return [
        StaleStage(stage=stage, reason=reason)
        for stage in stages
        for reason in _find_reasons(stage, status.get(stage, []), workspace.stages, params, cached)
    ]


def _find_reasons(
    stage: str, status: list[Any], lock: dict[str, Any], params: dict[str, Any], cached: set[str]
) -> Iterator[str]:
    """Yield the reasons in a stage's `dvc status`; `cached` are the paths of outputs that DVC's cache holds."""
    if stage not in lock:
        yield "it is not in dvc.lock, so it never ran"
        return
    for entry in status:
        if entry == "changed command":
            yield "its command changed"
            continue
        if not isinstance(entry, dict):
            yield str(entry)
            continue
        for path, state in entry.get("changed deps", {}).items():
            if isinstance(state, dict):
                yield from _find_changed_params(list(state), params_of(lock[stage]), params)
            elif not (path in cached and state in MISSING_DATA):
                yield f"{kind_of(path)} {path} is {state}"
        for path, state in entry.get("changed outs", {}).items():
            if not (path in cached and state in MISSING_DATA):
                yield f"output {path} is {state}"
    yield from _find_mismatched_data(stage, lock)


def _find_changed_params(sections: list[str], before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """Yield the parameters behind the changed sections; DVC names only the sections."""
    section_names = {section.partition(".")[0] for section in sections}
    for name in dict.fromkeys([*before, *now]):
        if name.partition(".")[0] not in section_names:
            continue
        if name not in before:
            yield f"parameter {name} is new"
        elif name not in now:
            yield f"parameter {name} is deleted"
        elif before[name] != now[name]:
            yield f"parameter {name} is modified"


def _find_mismatched_data(stage: str, lock: dict[str, Any]) -> Iterator[str]:
    """Yield the data of which the stage read another version than the one that dvc.lock says was written."""
    outputs = {path: md5 for entry in lock.values() for path, md5 in hashes(entry, "outs").items()}
    for path, md5 in hashes(lock[stage], "deps").items():
        if md5 != outputs.get(path, md5):
            yield f"data {path} is not the version that dvc.lock says was written"


def hashes(entry: Mapping[str, Any], kind: str) -> dict[str, str]:
    """Return the `deps` or `outs` of a stage in dvc.lock, path to MD5."""
    return {item["path"]: item["md5"] for item in entry.get(kind, [])}


def params_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a stage in dvc.lock by dotted name; whole sections are flattened."""
    return {name: value for file in entry.get("params", {}).values() for name, value in flatten(file).items()}


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted name.

    >>> flatten({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def training_data_hash(stages: Mapping[str, Any]) -> str | None:
    """Return the hash of the training data in the `stages` of dvc.lock, None if it has none."""
    return hashes(stages.get("clean", {}), "outs").get(TRAINING_DATA)


def kind_of(path: str) -> str:
    """Return the kind of a dependency: code or data."""
    return "code" if path.startswith(("src/", "stages/")) else "data"
