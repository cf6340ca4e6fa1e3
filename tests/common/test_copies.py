"""Experiments in copies of a repository whose results DVC would lose."""

from pathlib import Path

import pytest
from helpers.project import Project
from helpers.repositories import commit_all, git, small_pipeline

from marketplace.common.copies import check_copies
from marketplace.common.errors import MarketplaceError
from marketplace.review.noise import measure_noise

STAGE = """
from pathlib import Path
from marketplace.common.console import run_stage
run_stage(Path("out").touch, "A stage.")
"""
PIPELINE = """
stages:
  train:
    cmd: python stage.py
    params: [clean]
    outs: [out]
"""


def make_shallow_clone(folder: Path) -> Path:
    original = small_pipeline(folder / "original")
    (original / "stage.py").write_text(STAGE)
    (original / "dvc.yaml").write_text(PIPELINE)
    commit_all(original)
    git(folder, "clone", "-q", "--depth", "1", original.as_uri(), "shallow")
    return folder / "shallow"


def test_an_experiment_in_a_copy_of_a_shallow_clone_ends_before_its_first_stage(tmp_path: Path) -> None:
    shallow = Project.at(make_shallow_clone(tmp_path))
    refused = shallow.dvc("exp", "run", "--temp", "--name", "lost", "-S", "clean.seed=2", code=None)
    assert "is a shallow clone, and DVC loses the results" in refused
    assert "git fetch --unshallow" in refused
    shallow.dvc("exp", "run", "--name", "kept", "-S", "clean.seed=3")  # not in a copy
    assert shallow.experiment("kept")
    shallow.run("git", "fetch", "-q", "--unshallow")
    shallow.dvc("exp", "run", "--temp", "--name", "also-kept", "-S", "clean.seed=4")
    assert shallow.experiment("also-kept")


def test_the_noise_of_a_shallow_clone_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(MarketplaceError, match=r"is a shallow clone, .* `git fetch --unshallow` gets"):
        measure_noise(make_shallow_clone(tmp_path), 2)


@pytest.mark.parametrize("name", ["a#b", "höme", "日本", "what?", "per%41cent", "cafe\u0301"])
def test_a_path_that_dvc_misreads_is_named(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name / "repository"
    folder.mkdir(parents=True)
    with pytest.raises(MarketplaceError, match=f"in copies of {folder.parent.parent}.*move the repository"):
        check_copies(folder)


@pytest.mark.parametrize("name", ["plain", "with space", "100%", "a&b=c;d+e", "[x]"])
def test_other_paths_are_fine(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    check_copies(tmp_path / name)
