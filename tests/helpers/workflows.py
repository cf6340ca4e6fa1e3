"""The workflows of GitHub, whose shell steps run here."""

import subprocess
import sys
from typing import Any

import yaml

from helpers.paths import ROOT
from helpers.project import COMMAND, Project

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def load_workflow(name: str) -> Any:
    """Return a workflow, with every value as text."""
    return yaml.load((ROOT / f".github/workflows/{name}.yml").read_text(), yaml.BaseLoader)


def install_launcher(checkout: Project) -> None:
    """Give a checkout the command that its `.venv` would have."""
    folder = checkout.folder / ".venv/bin"
    folder.mkdir(parents=True)
    script = folder / "marketplace"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{COMMAND}" "$@"\n')
    script.chmod(0o755)


def run_step(
    workflow: str, name: str, checkout: Project, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a shell step as a runner does: `bash -e` in the checkout, with its `env` resolved by the caller."""
    jobs = load_workflow(workflow)["jobs"].values()
    ((job, step),) = ((job, step) for job in jobs for step in job["steps"] if step.get("name") == name)
    assert set(step.get("env", {})) <= set(environment)
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(
        command,
        cwd=checkout.folder,
        env={**checkout.environment(), **job.get("env", {}), **environment},
        capture_output=True,
        text=True,
    )
