"""A cache for the team that somebody has tampered with, set up as docs/PIPELINE.md says."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from helpers.project import Project
from test_docs import commands


@pytest.fixture
def repository(tmp_path: Path) -> Project:
    """A repository with a file and a folder that were pushed, and that it does not have itself."""
    repository = Project.at(tmp_path / "repository")
    (repository.folder / "folder").mkdir(parents=True)
    for name in ("file", "folder/one", "folder/two"):
        (repository.folder / name).write_text(f"content of {name}")
    repository.dvc("init", "--no-scm", "-q")
    repository.dvc("add", "-q", "file", "folder")
    for page, command in commands():
        if (
            page == "PIPELINE.md"
            and command.startswith("dvc remote ")
            and not re.search("endpointurl|--local", command)
        ):
            repository.dvc(*shlex.split(command.replace("s3://bucket/dvc", str(tmp_path / "remote")))[1:])
    repository.dvc("push", "-q")
    for path in (".dvc/cache", ".dvc/tmp", "folder"):
        shutil.rmtree(repository.folder / path)
    (repository.folder / "file").unlink()
    return repository


def tamper(repository: Project, before: str, after: str) -> None:
    """Replace a text in the file of the remote that has it."""
    remote = repository.folder.parent / "remote"
    (path,) = [path for path in remote.rglob("*") if path.is_file() and before in path.read_text()]
    content = path.read_text()
    path.unlink()
    path.write_text(content.replace(before, after))


@pytest.mark.parametrize("name", ["file", "folder/one"])
def test_a_changed_file_is_not_pulled(repository: Project, name: str) -> None:
    tamper(repository, f"content of {name}", "something bad")
    output = repository.dvc("pull", code=1)
    assert "Checkout failed for following targets" in output
    assert not (repository.folder / name).exists()


def test_dvc_status_names_a_folder_whose_listing_was_changed(repository: Project) -> None:
    tamper(repository, '"relpath": "one"', '"relpath": "other"')
    repository.dvc("pull")
    assert "not in cache:       folder" in repository.dvc("status")
