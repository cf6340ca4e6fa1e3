"""Copies of this project, in which tests run DVC and the project's own command."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from helpers import warm_python
from helpers.paths import ROOT
from helpers.warm_python import FOLDER

# In the order in which DVC runs them.
STAGES = list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])

# Small enough for a test, large enough for 13 categories in three splits each.
TINY = {
    "fetch.shards": 3,
    "fetch.sample.products": 65,
    "resize_images.small": 32,
    "resize_images.full": 48,
    "train_small.epochs": 2,
    "train_full.epochs": 2,
    "train_full.warm_start": False,
    "train.seed": 1,
}

# The command of the copy at hand, not of the project that the tests run in.
COMMAND = "import sys; sys.path.insert(0, 'src'); from marketplace.cli import main; main()"


def ran(output: str) -> list[str]:
    """The stages that a `dvc repro` or `dvc exp run` really ran."""
    return re.findall(r"Running stage '(?:stages/dvc.yaml:)?([\w@]+)'", output)


class Project:
    """A copy of this project's working tree, in a Git repository of its own."""

    def __init__(self, folder: Path, **params: object) -> None:
        self.folder = folder
        listed = subprocess.check_output(["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, text=True)
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        (folder / "dvc.lock").unlink(missing_ok=True)
        self.set(**{**TINY, **params})
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
            self.run("git", *command)

    @classmethod
    def at(cls, folder: Path) -> "Project":
        """A copy of this project that is already there."""
        project = cls.__new__(cls)
        project.folder = folder
        return project

    def set(self, **params: object) -> None:
        """Change parameters, given as `section.key`."""
        path = self.folder / "params.yaml"
        values = yaml.safe_load(path.read_text())
        for key, value in params.items():
            *sections, last = key.split(".")
            section = values
            for name in sections:
                section = section[name]
            section[last] = value
        path.write_text(yaml.safe_dump(values))

    def clone(self, folder: Path) -> "Project":
        """What a colleague gets: a Git clone of what is committed, without data."""
        self.run("git", "clone", "-q", ".", str(folder))
        return Project.at(folder)

    def copy(self, folder: Path) -> "Project":
        """Another one with everything that is in this one: data, caches, commits and experiments."""
        _copy(self.folder, folder)
        return Project.at(folder)

    def restore(self) -> None:
        """Take everything back that is not committed."""
        self.run("git", "checkout", "-q", ".")
        self.dvc("checkout", "-q")

    def marketplace(self, *arguments: str, code: int | None = 0) -> str:
        """Run the project's own command."""
        return self.run("python", "-c", COMMAND, *arguments, code=code)

    def experiment(self, name: str) -> str:
        """The commit of an experiment."""
        refs = self.run("git", "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps")
        (commit,) = re.findall(rf"^(\w+) \S+/{name}$", refs, re.MULTILINE)
        return str(commit)

    def environment(self, *, warm: bool = True) -> dict[str, str]:
        """This environment, with this Python's programs first.

        `warm`: `python` and `dvc` are forked from an interpreter that has imported the large libraries.
        """
        identity = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        programs = [str(Path(sys.executable).parent), os.environ["PATH"]]
        if warm and FOLDER in os.environ:
            programs.insert(0, warm_python.start())
        return {**os.environ, **identity, "PATH": os.pathsep.join(programs)}

    def run(self, *command: str, code: int | None = 0) -> str:
        """Run a command in the project and give its output, both streams; fail unless it exits with `code`."""
        environment = self.environment()
        done = subprocess.run(  # both streams in one, in the order in which a user sees them
            command, cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert code is None or done.returncode == code, f"{command} exited with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def dvc(self, *arguments: str, code: int | None = 0) -> str:
        """Run dvc."""
        return self.run("dvc", *arguments, code=code)

    def stages(self) -> dict[str, dict[str, list[str | dict[str, object]]]]:
        """The stages of dvc.yaml."""
        stages: dict[str, dict[str, list[str | dict[str, object]]]]
        stages = yaml.safe_load((self.folder / "dvc.yaml").read_text())["stages"]
        return stages

    def out_hashes(self) -> dict[str, str]:
        """The hash of every output in dvc.lock."""
        lock = yaml.safe_load((self.folder / "dvc.lock").read_text())
        return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage.get("outs", [])}


def copy_of(reproduced: Project, project: Project) -> Project:
    """Give a project the outputs of another one."""
    shutil.rmtree(project.folder / "metrics", ignore_errors=True)  # committed pictures of products it does not have
    for name in (".dvc/cache", "dvc.lock", "metrics"):
        _copy(reproduced.folder / name, project.folder / name)
    project.dvc("checkout")
    return project


def _copy(source: Path, target: Path) -> None:
    """Copy a file or folder; objects in DVC's cache, which nobody changes, are linked: copies would take gigabytes."""
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True, copy_function=_copy_or_link)
    else:
        shutil.copy2(source, target)


def _copy_or_link(source: str, target: str) -> None:
    if "/.dvc/cache/files/" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def built_once(name: str, build: Callable[[], Project], factory: pytest.TempPathFactory) -> Project:
    """Build a project in the first test process that asks for it; each of the others gets a copy."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return build()
    shared = factory.getbasetemp().parent / name
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            project = build()
            project.copy(Path(f"{shared}.part")).folder.rename(shared)
            return project
    return Project.at(shared).copy(factory.mktemp(name) / "project")
