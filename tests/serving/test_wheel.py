"""The server as it is deployed: the wheel of this project and the packages of requirements-serve.lock, nothing else."""

import os
import re
import subprocess
import venv
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.project import Project
from helpers.wheels import build_wheel
from packaging.requirements import Requirement

from marketplace.raw.shards import read_shard, shard_paths

COMMAND = "from marketplace.cli import main; main()"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel and what the lock names for this system."""
    folder = tmp_path_factory.mktemp("deployed")
    venv.create(folder / "venv", symlinks=True)
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    zipfile.ZipFile(build_wheel(folder / "project")).extractall(packages)
    for line in re.findall(r"^[\w.\[\]-]+==.*?(?= \\)", (ROOT / "requirements-serve.lock").read_text(), re.MULTILINE):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            link_package(distribution(requirement.name), packages)
    return folder / "venv/bin/python"


def link_package(package: Distribution, folder: Path) -> None:
    """Link an installed package into another environment: downloading it again would take minutes."""
    installed = Path(str(package.locate_file("")))
    names = {file.parts[0] for file in package.files or [] if file.parts[0] not in ("..", "__pycache__")}
    for name in names:
        target = folder / name
        if (installed / name).exists() and not target.exists():
            target.symlink_to(installed / name)


def test_it_answers_a_photo_without_pytorch(python: Path, reproduced: Project, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(next(content for _, content in read_shard(shard_paths(reproduced.folder / "data/raw/images")[0])))
    command = [str(python), "-c", COMMAND, "similar", str(photo), "--json"]
    done = subprocess.run(
        command,
        cwd=reproduced.folder,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == reproduced.marketplace("similar", str(photo), "--json")


@pytest.mark.parametrize("package", ["torch", "torchvision", "timm", "onnx"])
def test_it_does_not_have_what_trains(python: Path, package: str) -> None:
    distribution(package)  # is installed here
    code = f"import importlib.util; raise SystemExit(importlib.util.find_spec({package!r}) is not None)"
    assert subprocess.run([python, "-c", code], check=False).returncode == 0
