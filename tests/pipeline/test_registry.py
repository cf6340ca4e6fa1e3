"""The model registry as docs/DEPLOY.md describes it: from a tag to a model in an empty folder, and to a server."""

import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import dvc.api
import numpy as np
import onnxruntime
import pytest
from helpers.project import Project
from helpers.servers import free_port
from helpers.workflows import install_launcher, load_workflow, run_step

from marketplace.texts.text_model import TextModel


@pytest.fixture
def registry(shared_project: Project) -> Project:
    """A project whose models are registered, with the tags at its Git remote."""
    project = shared_project
    gto = str(Path(sys.executable).with_name("gto"))
    for name in ("image-model", "text-model"):
        project.run(gto, "register", name)
        project.run(gto, "assign", name, "--stage", "prod")
    project.run("git", "push", "-q", "origin", "--tags")
    return project


def get(url: Path, name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Get a model of the stage prod into a folder."""
    folder.mkdir()
    dvc = str(Path(sys.executable).with_name("dvc"))
    command = [dvc, "artifacts", "get", str(url), name, "--stage", "prod", "-o", name]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_models_of_a_stage_arrive_in_an_empty_folder(registry: Project, tmp_path: Path) -> None:
    registry.dvc("push")
    origin = tmp_path / "origin"
    for name in ("image-model", "text-model"):
        done = get(origin, name, tmp_path / name)
        assert done.returncode == 0, done.stderr
    model = onnxruntime.InferenceSession(str(tmp_path / "image-model/image-model"))
    size = model.get_inputs()[0].shape[1]
    kind = model.run(["kind"], {"images": np.zeros((1, size, size, 3), np.uint8)})[0]
    assert np.linalg.norm(kind) == pytest.approx(1, abs=1e-5)
    assert TextModel(tmp_path / "text-model/text-model")(["oak table"]).any()
    shown = dvc.api.artifacts_show("image-model", repo=str(origin), stage="prod")
    assert shown == {"rev": registry.run("git", "rev-parse", "HEAD").strip(), "path": "models/image_model.onnx"}


def test_a_version_whose_results_were_not_pushed_is_an_error(registry: Project, tmp_path: Path) -> None:
    done = get(tmp_path / "origin", "image-model", tmp_path / "empty")
    assert done.returncode != 0
    assert "No storage files available: 'models/image_model.onnx'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_deployed_files_are_all_that_serve_needs(
    registry: Project, make_project: Callable[..., Project], tmp_path: Path
) -> None:
    (job,) = load_workflow("deploy")["jobs"].values()
    registry.dvc("push", *job["env"]["SERVED"].split())
    checkout = registry.clone(tmp_path / "checkout")
    install_launcher(checkout)
    (checkout.folder / ".venv/bin/dvc").symlink_to(Path(sys.executable).with_name("dvc"))
    environment = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "PORT": str(free_port())}
    for step in ("Pull", "Smoke test", "Pack"):
        done = run_step("deploy", step, checkout, environment)
        assert done.returncode == 0, done.stderr
        if step == "Smoke test":
            assert "similar to " in done.stdout
    with tarfile.open(checkout.folder / "served.tar") as tar:
        assert set(job["env"]["SERVED"].split()) <= set(tar.getnames())
