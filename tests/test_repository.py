"""The files around the code: container, templates, changelog."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from helpers.paths import ROOT

DOCKERFILE = ROOT / "Dockerfile"


def test_the_dockerfile_is_sound() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_image_gets_only_what_it_copies() -> None:
    copied = set(re.findall(r"^COPY --chown=\w+ (\S+) ", DOCKERFILE.read_text(), re.MULTILINE))
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert "*" in rules
    assert kept == copied


def test_the_devcontainer_builds_that_dockerfile() -> None:
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert (ROOT / ".devcontainer" / container["build"]["dockerfile"]).resolve() == DOCKERFILE
    assert f" AS {container['build']['target']}\n" in DOCKERFILE.read_text()


@pytest.mark.parametrize("path", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem)
def test_issue_templates_have_what_github_wants(path: Path) -> None:
    template = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= set(template)
    assert all(entry["attributes"]["label"] for entry in template["body"])
    identifiers = [entry["id"] for entry in template["body"]]
    assert len(identifiers) == len(set(identifiers))


def test_the_changelog_knows_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_artifacts_that_dvc_names_are_outputs() -> None:
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    outs = {out for stage in pipeline["stages"].values() for out in stage.get("outs", [])}
    assert {artifact["path"] for artifact in pipeline["artifacts"].values()} <= outs
