"""The lineage of a file: the commit, parameters, data, epoch and metrics behind its content."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marketplace.common.errors import MarketplaceError
from marketplace.review.files import SUMMARY, TRAINING
from marketplace.review.lock import flatten, hashes, kind_of, params_of
from marketplace.review.revisions import WORKSPACE, Revision, git

SOURCE_STAGE = "fetch"  # everything is made from its outputs
NOT_COMMITTED = "not committed yet"


@dataclass(frozen=True)
class Lineage:
    """The origin of a file's content, from dvc.lock and Git."""

    path: str  # in the pipeline
    md5: str
    revision: Revision  # the newest whose dvc.lock lists this content; the working tree if no commit does
    commit: str  # date, author and subject of that revision's commit
    first_commit: str  # hash, date, author and subject of the first commit with this content
    stage: str
    command: str
    params: dict[str, Any]  # including all stages before this one
    committed: dict[str, Any]  # the same sections in params.yaml of HEAD
    data: dict[str, str]  # the dump: path to MD5
    code: list[str]  # scripts and folders, including all stages before this one
    epoch: dict[str, Any]  # the one chosen by train_full: epoch, train_loss, val_loss, val_accuracy
    metrics: dict[str, float]

    @property
    def reproduce(self) -> str:
        """The command that makes the file again."""
        checkout = f"git checkout {self.revision.commit} && " if self.revision.commit else ""
        return f"{checkout}dvc repro {self.stage}"

    def describe(self, *, everything: bool = False) -> dict[str, list[str]]:
        """Return the lines to show, by heading: of parameters only the differences, of code only its extent.

        With `everything`, all parameters and code.
        """
        return {
            "file": [f"{self.path}  md5 {self.md5}"],
            "commit": [f"{self.revision.label}  {self.commit}"],
            "first in": [self.first_commit],
            "stage": [f"{self.stage}: {self.command}"],
            "epoch": [f"{name} {value}" for name, value in self.epoch.items()],
            "metrics": [f"{name} {value}" for name, value in self.metrics.items()],
            "parameters": list(self._describe_params() if everything else self._describe_differing_params()),
            "data": [f"{path}  md5 {md5}" for path, md5 in self.data.items()],
            "code": [*self.code, "(at that commit)"] if everything else [self._count_code()],
            "reproduce": [self.reproduce],
        }

    def _describe_params(self) -> Iterator[str]:
        for name, value in self.params.items():
            if value is not None:
                yield f"{name} {value}"

    def _describe_differing_params(self) -> Iterator[str]:
        differing = [
            name
            for name in dict.fromkeys([*self.params, *self.committed])
            # As texts, in which PyYAML's "1e-05" and 0.00001 are the same.
            if str(self.params.get(name)) != str(self.committed.get(name))
        ]
        for name in differing:
            yield f"{name} {_or_dash(self.params.get(name))}  (HEAD: {_or_dash(self.committed.get(name))})"
        n_others = len(self.params.keys() - set(differing))
        if n_others:
            others = f"the other {n_others}" if differing else f"all {n_others}"
            yield f"{others} as in params.yaml of HEAD: --all lists them"

    def _count_code(self) -> str:
        return f"{len(self.code)} scripts and folders at that commit: --all lists them"


def _or_dash(value: Any) -> Any:
    return "–" if value is None else value


def trace_file(root: Path, file: Path) -> Lineage:
    """Return the lineage of a file, which is recognised by its content, wherever it is.

    Raises MarketplaceError if no dvc.lock in this repository's history lists such a file.
    """
    if file.is_dir():
        raise MarketplaceError(f"{file} is a folder: name one of the files that `dvc.lock` lists.")
    with file.open("rb") as stream:
        md5 = hashlib.file_digest(stream, "md5").hexdigest()
    for revision in _candidate_revisions(root, md5):
        for stage, entry in revision.stages.items():
            for path, output_md5 in hashes(entry, "outs").items():
                if output_md5 == md5:
                    return _trace_output(revision, stage, path, md5)
    raise MarketplaceError(
        f"no dvc.lock in this repository's history lists {file} (md5 {md5}): it was changed since, comes from another "
        "repository, or from a commit that is missing here (`git fetch --unshallow` gets it)."
    )


def _trace_output(revision: Revision, stage: str, path: str, md5: str) -> Lineage:
    stages = revision.stages
    upstream = {name: stages[name] for name in _find_upstream(stages, stage)}
    deps = {dep for entry in upstream.values() for dep in hashes(entry, "deps")}
    params = {name: value for entry in upstream.values() for name, value in params_of(entry).items()}
    training = (revision.json(TRAINING) or {}) if "train_full" in upstream else {}
    return Lineage(
        path=path,
        md5=md5,
        revision=revision,
        commit=_describe_commit(revision.root, revision.commit),
        first_commit=_describe_first_commit(revision, md5),
        stage=stage,
        command=stages[stage]["cmd"],
        params=params,
        committed=_read_committed(revision.root, sections={name.partition(".")[0] for name in params}),
        data=hashes(upstream.get(SOURCE_STAGE, {}), "outs"),
        code=sorted(dep for dep in deps if kind_of(dep) == "code"),
        epoch=training.get("best", {}),
        metrics=(revision.json(SUMMARY) or {}) if "train_full" in upstream else {},
    )


def _read_committed(root: Path, sections: Collection[str]) -> dict[str, Any]:
    """Return the parameters of sections in params.yaml of HEAD; none if there is no such file."""
    values = Revision(root=root, name="HEAD", commit="HEAD").yaml("params.yaml") or {}
    return flatten({name: section for name, section in values.items() if name in sections})


def _find_upstream(stages: Mapping[str, Any], stage: str) -> list[str]:
    """Return the stage and all stages that it depends on, in the order of dvc.lock."""
    writers = {path: name for name, entry in stages.items() for path in hashes(entry, "outs")}
    upstream = set()
    queue = [stage]
    while queue:
        name = queue.pop()
        upstream.add(name)
        deps = {writers[path] for path in hashes(stages[name], "deps") if path in writers}
        queue += deps - upstream
    return [name for name in stages if name in upstream]


def _candidate_revisions(root: Path, md5: str) -> Iterator[Revision]:
    """Yield revisions whose dvc.lock may list a hash.

    They are HEAD, its history, other branches and experiments, and the working tree.
    """
    names = ["HEAD"]
    for start in ("HEAD", "--all"):
        for commit in _commits_touching(root, md5, start):
            names += [commit, f"{commit}~1"]  # the commit added the hash or removed it
    for name in [*names, WORKSPACE]:
        try:
            yield Revision.of(root, name)
        except MarketplaceError:  # the first commit has no parent, and a shallow clone lacks some
            continue


def _commits_touching(root: Path, md5: str, start: str) -> list[str]:
    """Return the commits in which dvc.lock gained or lost a hash, newest first."""
    return (git(root, "log", "--format=%H", f"-S{md5}", start, "--", "dvc.lock") or "").split()


def _describe_first_commit(revision: Revision, md5: str) -> str:
    if revision.commit is None:
        return NOT_COMMITTED
    commits = _commits_touching(revision.root, md5, revision.commit)
    first = commits[-1] if commits else revision.commit  # a shallow clone may have none
    return f"{first[:7]}  {_describe_commit(revision.root, first)}"


def _describe_commit(root: Path, commit: str | None) -> str:
    if commit is None:
        return NOT_COMMITTED
    return (git(root, "show", "--no-patch", "--format=%ad, %an: %s", "--date=short", commit) or "").strip()
