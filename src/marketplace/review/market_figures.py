"""Figures of a real marketplace that are older than the code that they measure."""

from collections.abc import Mapping
from pathlib import Path

from marketplace.common.errors import MarketplaceError
from marketplace.review.changes import differ_by_rounding, find_stage_changes
from marketplace.review.escaping import code
from marketplace.review.revisions import Revision, git

FOLDER = "metrics/market"  # a file for each benchmark, with the commit that it measured


def find_old_figures(revision: Revision) -> list[str]:
    """Return a remark for each commit that files in FOLDER measured, if stages have other outputs since.

    The outputs are those in dvc.lock, of the sample: code that was moved or made faster leaves figures as they are, and
    so does another machine that rounds differently.
    """
    files_of_commits: dict[str, list[str]] = {}
    for path in _list_files(revision):
        files_of_commits.setdefault(_read_commit(revision, path), []).append(path)
    remarks = [_describe(revision, commit, files) for commit, files in files_of_commits.items()]
    return [remark for remark in remarks if remark]


def _read_commit(revision: Revision, path: str) -> str:
    """Return the commit that a file measured; empty if it does not say."""
    try:
        content = revision.json(path)
    except MarketplaceError:  # no JSON
        return ""
    return str(content.get("commit") or "") if isinstance(content, Mapping) else ""


def _list_files(revision: Revision) -> list[str]:
    if revision.commit is None:
        return sorted(str(path.relative_to(revision.root)) for path in (revision.root / FOLDER).glob("*.json"))
    listing = git(revision.root, "ls-tree", "--name-only", revision.commit, f"./{FOLDER}/") or ""
    return [path for path in listing.splitlines() if Path(path).suffix == ".json"]


def _describe(revision: Revision, commit: str, files: list[str]) -> str:
    """Return a remark on the files that measured a commit; empty if their figures are of this code."""
    names = ", ".join(map(code, files))
    if not commit:
        return f"{names}: may be older than the code, since no commit is recorded."
    try:
        stages = Revision.of(revision.root, commit).stages
    except MarketplaceError:
        return f"{names}: may be older than the code, since commit {code(commit[:7])} is not in this clone."
    changes = find_stage_changes(stages, revision.stages)
    if not changes or differ_by_rounding(changes):
        return ""
    stage_names = ", ".join(code(change.stage) for change in changes)
    return f"{names}: older than the code; outputs of {stage_names} have changed since commit {code(commit[:7])}."
