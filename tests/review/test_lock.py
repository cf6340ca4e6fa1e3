"""`marketplace check` finds a stale dvc.lock, in clones without data."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.project import Project
from helpers.repositories import commit_all, git, small_pipeline

from marketplace.review.comparison import find_stale_reasons
from marketplace.review.lock import find_stale_stages
from marketplace.review.revisions import WORKSPACE, Revision

Edit = Callable[[Project], None]


@pytest.fixture
def clone(experimented: Project, tmp_path: Path) -> Project:
    """The files of `main` that Git tracks, as a colleague or CI has them."""
    clone = experimented.clone(tmp_path / "clone")
    assert not (clone.folder / "models").exists()
    return clone


def replace(path: str, old: str, new: str) -> Edit:
    def edit(project: Project) -> None:
        file = project.folder / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    return edit


def delete_counts(project: Project) -> None:
    (project.folder / "metrics/clean.json").unlink()


def replace_small_model(project: Project) -> None:
    """Mix two versions of dvc.lock, like a merge that took neighbouring stages from different sides."""
    lock = project.folder / "dvc.lock"
    head, stage, tail = lock.read_text().partition("\n  train_full:")
    start = head.rindex("path: models/small.pt")
    another = re.sub(r"md5: \w+", f"md5: {'f' * 32}", head[start:], count=1)
    lock.write_text(head[:start] + another + stage + tail)


def test_a_reproduced_pipeline_matches(clone: Project, experimented: Project) -> None:
    assert "dvc.lock is up to date" in clone.marketplace("check")
    assert "dvc.lock is up to date" in experimented.marketplace("check")


@pytest.mark.parametrize(
    ("edit", "reasons"),
    [
        (
            replace("src/marketplace/training/losses.py", "import", "\nimport"),
            [f"train_{size}: code src/marketplace/training is modified" for size in ("small", "full")],
        ),
        (replace("params.yaml", "k: 10", "k: 7"), ["recommend: parameter recommend.k is modified"]),
        (replace("dvc.yaml", "python stages/clean.py", "python -u stages/clean.py"), ["clean: its command changed"]),
        (replace("metrics/summary.json", "0", "1"), ["recommend: output metrics/summary.json is modified"]),
        (
            delete_counts,
            ["clean: output metrics/clean.json is deleted", "data_report: data metrics/clean.json is deleted"],
        ),
        (
            replace_small_model,
            ["train_full: data models/small.pt is not the version that dvc.lock says was written"],
        ),
        (replace("dvc.lock", "  pretrained:", "  another:"), ["pretrained: it is not in dvc.lock, so it never ran"]),
        (
            replace("dvc.yaml", "params: [extract]", "params: [extract, train_full]"),
            [f"fit: parameter train_full.{name} is new" for name in ("epochs", "warm_start")],
        ),
    ],
    ids=["code", "params", "command", "metric", "no metric", "merge", "never ran", "new parameter"],
)
def test_the_check_names_the_stage_and_the_reason(clone: Project, edit: Edit, reasons: list[str]) -> None:
    edit(clone)
    output = clone.marketplace("check", code=1)
    assert output.startswith("ERROR: dvc.lock is not up to date")
    for reason in reasons:
        assert reason in output
    assert "Traceback" not in output
    assert output.count("\n") == 1 + len(reasons)


def test_edited_data_is_named(copy_of_reproduced: Project) -> None:
    path = copy_of_reproduced.folder / "data/clean/rejects.csv"
    content = path.read_text()
    path.unlink()  # it may be a link into the cache
    path.write_text(content + "x")
    assert "clean: output data/clean/rejects.csv is modified" in copy_of_reproduced.marketplace("check", code=1)


def test_a_broken_pipeline_is_refused_in_a_sentence(tmp_path: Path, experimented: Project) -> None:
    clone = experimented.clone(tmp_path / "clone")
    (clone.folder / "dvc.yaml").write_text("stages: [")
    output = clone.marketplace("check", code=1)
    assert output.startswith("ERROR: ")
    assert "dvc.yaml" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("subfolder", "place"),
    [("", "."), ("", "src/deep"), ("shop", "src"), ("sh\u00f6p #1/de%41p", "src/deep")],
)
def test_a_clone_without_data_is_the_same_in_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subfolder: str, place: str
) -> None:
    root = small_pipeline(tmp_path, subfolder)
    monkeypatch.chdir(root / place)
    assert find_stale_stages(root) == []
    assert find_stale_reasons(Revision.of(root, "HEAD")) == []
    (root / "src/clean.py").write_text("changed = True")
    (root / "params.yaml").write_text("clean: {seed: 2}")
    reasons = ["clean: code src/clean.py is modified", "clean: parameter clean.seed is modified"]
    assert find_stale_reasons(Revision.of(root, WORKSPACE)) == reasons
    commit_all(root)
    assert find_stale_reasons(Revision.of(root, "HEAD")) == reasons
    assert find_stale_reasons(Revision.of(root, "HEAD~1")) == []


def test_a_commit_that_no_branch_of_a_shallow_clone_has_is_checked(tmp_path: Path) -> None:
    original = tmp_path / "original"
    small_pipeline(original)
    commit_all(original)
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", original.as_uri(), str(shallow))
    git(shallow, "checkout", "-q", "--detach")
    (shallow / "src/clean.py").write_text("changed = True")
    revision = Revision.of(shallow, commit_all(shallow))
    git(shallow, "checkout", "-q", "main")
    assert find_stale_reasons(revision) == ["clean: code src/clean.py is modified"]


def test_a_review_in_a_hook_leaves_the_repository_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = small_pipeline(tmp_path)
    (root / "src/clean.py").write_text("changed = True")
    head = commit_all(root)
    monkeypatch.setenv("GIT_DIR", str(root / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(root / ".git/index"))
    assert find_stale_reasons(Revision.of(root, "HEAD~1")) == []
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_INDEX_FILE")
    assert git(root, "rev-parse", "HEAD").strip() == head
    assert git(root, "symbolic-ref", "HEAD").strip() == "refs/heads/main"
    assert git(root, "status", "--porcelain") == ""
