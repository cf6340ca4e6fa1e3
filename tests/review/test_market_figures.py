"""A review says which figures of a real marketplace are older than the code."""

import json
from pathlib import Path

import pytest
from helpers.repositories import commit_all, small_pipeline

from marketplace.review.market_figures import find_old_figures
from marketplace.review.revisions import WORKSPACE, Revision

FILE = Path("metrics/market/results.json")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return small_pipeline(tmp_path)


def write_figures(root: Path, content: str) -> None:
    (root / FILE).parent.mkdir(parents=True, exist_ok=True)
    (root / FILE).write_text(content)


def edit_lock(root: Path, old: str, new: str) -> None:
    text = (root / "dvc.lock").read_text()
    assert old in text
    (root / "dvc.lock").write_text(text.replace(old, new))


def remarks(root: Path) -> list[str]:
    """The remarks on a commit, which are those on the working tree."""
    commit_all(root)
    of_workspace = find_old_figures(Revision.of(root, WORKSPACE))
    assert find_old_figures(Revision.of(root, "HEAD")) == of_workspace
    return of_workspace


def test_figures_of_this_code_need_no_remark(root: Path) -> None:
    write_figures(root, json.dumps({"commit": commit_all(root)}))
    assert remarks(root) == []


def test_figures_are_old_once_outputs_have_changed(root: Path) -> None:
    measured = commit_all(root)
    write_figures(root, json.dumps({"commit": measured}))
    edit_lock(root, "cmd: ", "cmd: env ")
    assert remarks(root) == []  # the outputs are the same
    edit_lock(root, "md5: ", "md5: 0")
    (remark,) = remarks(root)
    assert remark.startswith(f"`{FILE}`: older than the code; outputs of `")
    assert remark.endswith(f" have changed since commit `{measured[:7]}`.")


@pytest.mark.parametrize("content", ["{}", '{"commit": null}', "[]", '"x"', '{"commit": ""}', "<<<<<<< HEAD"])
def test_figures_without_a_commit_may_be_old(root: Path, content: str) -> None:
    write_figures(root, content)
    assert remarks(root) == [f"`{FILE}`: may be older than the code, since no commit is recorded."]


def test_figures_of_a_commit_that_is_not_here_may_be_old(root: Path) -> None:
    write_figures(root, json.dumps({"commit": "f" * 40}))
    (remark,) = remarks(root)
    assert remark.endswith("since commit `fffffff` is not in this clone.")


def test_without_figures_there_is_no_remark(root: Path) -> None:
    assert remarks(root) == []
