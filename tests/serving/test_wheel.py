"""The server as it is deployed: `pip install marketplace[serve]`, from the wheel, in an empty environment."""

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.project import Project
from helpers.servers import free_port
from helpers.wheels import build_wheel
from helpers.workflows import load_workflow

from marketplace.raw.shards import read_shard, shard_paths


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an empty environment into which the wheel was installed, with the versions of the lock."""
    folder = tmp_path_factory.mktemp("deployed")
    uv = str(Path(sys.executable).with_name("uv"))
    interpreter = folder / "venv/bin/python"
    wheel = f"{build_wheel(folder / 'project')}[serve]"
    lock = str(ROOT / "requirements-serve.lock")
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")],
        [uv, "pip", "install", "--quiet", "--python", str(interpreter), "--constraint", lock, wheel],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return interpreter


def test_it_answers_a_photo_without_pytorch(python: Path, reproduced: Project, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(next(content for _, content in read_shard(shard_paths(reproduced.folder / "data/raw/images")[0])))
    command = [str(python.with_name("marketplace")), "similar", str(photo), "--json"]
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


def test_it_serves_a_pulled_pipeline(python: Path, shared_project: Project, tmp_path: Path) -> None:
    (job,) = load_workflow("deploy")["jobs"].values()
    served = job["env"]["SERVED"].split()
    shared_project.dvc("push", *served)
    checkout = shared_project.clone(tmp_path / "checkout")
    checkout.dvc("pull", *served)
    port = str(free_port())
    command = [str(python.with_name("marketplace")), "serve", "--port", port]
    log = tmp_path / "server.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            command, cwd=checkout.folder, env={**os.environ, "PYTHONPATH": ""}, stdout=output, stderr=output
        )
    try:
        smoke_test = [sys.executable, str(ROOT / ".github/smoke_test.py"), f"http://127.0.0.1:{port}"]
        done = subprocess.run(smoke_test, capture_output=True, text=True, check=False)
    finally:
        server.terminate()
        server.wait()
    assert done.returncode == 0, f"{done.stderr}\n{log.read_text()}"
    assert "similar to " in done.stdout


@pytest.mark.parametrize("package", ["torch", "torchvision", "timm", "onnx"])
def test_it_does_not_have_what_trains(python: Path, package: str) -> None:
    distribution(package)  # is installed here
    code = f"import importlib.util; raise SystemExit(importlib.util.find_spec({package!r}) is not None)"
    assert subprocess.run([python, "-c", code], check=False).returncode == 0
