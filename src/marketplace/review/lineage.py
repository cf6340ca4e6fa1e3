"""The lineage of a file: the commit, parameters, data, epoch and metrics behind its bytes."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marketplace.common.errors import MarketplaceError
from marketplace.review.files import SUMMARY, TRAINING
from marketplace.review.lock import hashes, kind_of, params
from marketplace.review.revisions import WORKSPACE, Revision, git

SOURCE = "fetch"  # the stage whose outputs are the data that everything is made from


@dataclass(frozen=True)
class Lineage:
    """The origin of a file's content, from dvc.lock and Git."""

    path: str  # as the pipeline calls it
    md5: str
    revision: Revision  # the newest whose dvc.lock has this content; the working tree, if no commit has it yet
    committed: str  # date, author and subject of that commit
    first: str  # the first commit with this content: date, author and subject
    stage: str
    command: str
    params: dict[str, Any]  # of the stage and of all before it
    data: dict[str, str]  # path to md5: the dump
    code: list[str]  # scripts, and folders of modules, of the stage and of all before it
    epoch: dict[str, Any]  # the chosen one of train_full: epoch, train_loss, val_loss, val_accuracy
    metrics: dict[str, float]

    @property
    def reproduce(self) -> str:
        """The command that makes the file again."""
        checkout = f"git checkout {self.revision.commit} && " if self.revision.commit else ""
        return f"{checkout}dvc repro {self.stage}"

    def described(self) -> dict[str, str | list[str]]:
        """The lines to show for it, by heading."""
        return {
            "file": f"{self.path}  md5 {self.md5}",
            "commit": f"{self.revision.label}  {self.committed}",
            "first in": self.first,
            "stage": f"{self.stage}: {self.command}",
            "epoch": [f"{name} {value}" for name, value in self.epoch.items()],
            "metrics": [f"{name} {value}" for name, value in self.metrics.items()],
            "parameters": [f"{name} {value}" for name, value in self.params.items() if value is not None],
            "data": [f"{path}  md5 {md5}" for path, md5 in self.data.items()],
            "code": [*self.code, "(as they are in that commit)"],
            "again": self.reproduce,
        }


def lineage(root: Path, file: Path) -> Lineage:
    """The lineage of a file, wherever it is: it is recognised by its content.

    Raises MarketplaceError if no dvc.lock in this repository's history has such a file.
    """
    if file.is_dir():
        raise MarketplaceError(f"{file} is a folder: ask for one of the files that `dvc.lock` lists.")
    with file.open("rb") as opened:
        md5 = hashlib.file_digest(opened, "md5").hexdigest()
    for revision in _revisions_with(root, md5):
        for stage, entry in revision.stages.items():
            for path, written in hashes(entry, "outs").items():
                if written == md5:
                    return _lineage(revision, stage, path, md5)
    raise MarketplaceError(
        f"no dvc.lock in this repository's history wrote {file} (md5 {md5}): it was changed since, comes from another "
        "repository, or from a commit that is not here (`git fetch --unshallow`)."
    )


def _lineage(revision: Revision, stage: str, path: str, md5: str) -> Lineage:
    stages = revision.stages
    upstream = {name: stages[name] for name in _upstream(stages, stage)}
    deps = {dep for entry in upstream.values() for dep in hashes(entry, "deps")}
    trained = "train_full" in upstream
    return Lineage(
        path=path,
        md5=md5,
        revision=revision,
        committed=_committed(revision.root, revision.commit),
        first=_first_with(revision, md5),
        stage=stage,
        command=stages[stage]["cmd"],
        params={name: value for entry in upstream.values() for name, value in params(entry).items()},
        data=hashes(upstream.get(SOURCE, {}), "outs"),
        code=sorted(dep for dep in deps if kind_of(dep) == "code"),
        epoch=(revision.json(TRAINING) or {}).get("best", {}) if trained else {},
        metrics=revision.json(SUMMARY) or {} if trained else {},
    )


def _upstream(stages: Mapping[str, Any], stage: str) -> list[str]:
    """The stage and all stages that it depends on, in the order of dvc.lock."""
    writer = {path: name for name, entry in stages.items() for path in hashes(entry, "outs")}
    found, waiting = set(), [stage]
    while waiting:
        name = waiting.pop()
        found.add(name)
        deps = {writer[path] for path in hashes(stages[name], "deps") if path in writer}
        waiting += deps - found
    return [name for name in stages if name in found]


def _revisions_with(root: Path, md5: str) -> Iterator[Revision]:
    """Revisions whose dvc.lock may have this hash: HEAD, history, other branches and experiments, the working tree."""
    names = ["HEAD"]
    for where in ("HEAD", "--all"):
        for commit in _commits_about(root, md5, where):  # each brought the hash, or took it away
            names += [commit, f"{commit}~1"]
    for name in [*names, WORKSPACE]:
        try:
            yield Revision.of(root, name)
        except MarketplaceError:  # the first commit has no parent, a shallow clone not all
            continue


def _first_with(revision: Revision, md5: str) -> str:
    if revision.commit is None:
        return "not committed yet"
    commits = _commits_about(revision.root, md5, revision.commit)
    first = commits[-1] if commits else revision.commit  # a shallow clone may know of none
    return f"{first[:7]}  {_committed(revision.root, first)}"


def _commits_about(root: Path, md5: str, where: str) -> list[str]:
    """The commits in which dvc.lock gained or lost this hash, newest first."""
    return (git(root, "log", "--format=%H", f"-S{md5}", where, "--", "dvc.lock") or "").split()


def _committed(root: Path, commit: str | None) -> str:
    if commit is None:
        return "not committed yet"
    return (git(root, "show", "--no-patch", "--format=%ad, %an: %s", "--date=short", commit) or "").strip()
