"""The files around the code: container, templates, changelog."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import yaml
from helpers.paths import ROOT
from helpers.repositories import git
from helpers.wheels import build_wheel

DOCKERFILE = ROOT / "Dockerfile"


def test_the_dockerfile_is_sound() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_base_image_has_a_digest() -> None:
    images = re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE)
    stages = set(re.findall(r"^FROM .* AS (\S+)", DOCKERFILE.read_text(), re.MULTILINE))
    outside = [image for image in images if image not in stages]
    assert outside
    assert all(re.fullmatch(r"python:3\.11-\S+@sha256:[0-9a-f]{64}", image) for image in outside)


def test_the_image_gets_only_what_it_copies() -> None:
    copied = set(re.findall(r"^COPY --chown=\w+ (\S+) ", DOCKERFILE.read_text(), re.MULTILINE))
    rules = dockerignore_rules()
    kept = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert rules[0] == "*"
    assert kept == copied


def test_the_image_gets_nothing_that_git_ignores() -> None:
    rules = dockerignore_rules()
    kept = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    last_kept = max(place for place, rule in enumerate(rules) if rule.startswith("!"))
    for path in (".gitignore", ".dvc/.gitignore"):
        for line in (ROOT / path).read_text().splitlines():
            pattern = line.strip("/")
            if line.startswith("/"):  # in this folder alone
                assert (Path(path).parent / pattern).parts[0] not in kept
            elif pattern and not pattern.startswith("#"):
                assert rules.index(f"**/{pattern}") > last_kept  # the last rule that matches decides


def dockerignore_rules() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_a_clone_has_the_same_bytes_whatever_git_does_to_line_ends(tmp_path: Path) -> None:
    original = tmp_path / "original"
    for name in (".gitattributes", "Makefile", "dvc.yaml", "src/marketplace/cli.py", "docs/pictures/product.webp"):
        (original / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, original / name)
    (original / "from_windows.csv").write_bytes(b"a\r\nb\r\n")
    git(original, "init", "-q")
    git(original, "-c", "core.autocrlf=true", "add", "-A")
    git(original, "commit", "-qm", "start")
    git(tmp_path, "clone", "-q", "-c", "core.autocrlf=true", "-c", "core.eol=crlf", str(original), "clone")
    clone = tmp_path / "clone"
    assert git(clone, "status", "--porcelain") == ""
    for path in original.rglob("*"):
        if path.is_file() and ".git" not in path.relative_to(original).parts:
            assert (clone / path.relative_to(original)).read_bytes() == path.read_bytes()


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


def test_test_files_have_different_names() -> None:
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert not [name for name, count in names.items() if count > 1]  # pytest imports them as one module


def test_the_changelog_knows_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_artifacts_that_dvc_names_are_outputs() -> None:
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    outs = {out for stage in pipeline["stages"].values() for out in stage.get("outs", [])}
    assert {artifact["path"] for artifact in pipeline["artifacts"].values()} <= outs


def test_a_wheel_has_the_files_of_the_page(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)
    packed = set(zipfile.ZipFile(wheel).namelist())
    assets = (ROOT / "src/marketplace/serving/web").rglob("*.*")
    assert {path.relative_to(ROOT / "src").as_posix() for path in assets} <= packed


def test_a_release_is_a_commit_and_a_tag(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(ROOT, "clone", "-q", str(ROOT), str(clone))
    for name in ("CHANGELOG.md", "Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, clone / name)
    git(clone, "add", "-A")
    git(clone, "commit", "-q", "--allow-empty", "-m", "as in the working tree")
    recipe = subprocess.check_output(
        ["make", "--just-print", "release", "VERSION=9.8.7"], cwd=ROOT, text=True, stderr=subprocess.DEVNULL
    )
    (command,) = (line for line in recipe.splitlines() if "bump-my-version" in line)
    identity = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = command.replace(".venv/bin", str(Path(sys.executable).parent))
    subprocess.run(["sh", "-ec", command], cwd=clone, env=os.environ | identity, check=True)
    assert tomllib.loads((clone / "pyproject.toml").read_text())["project"]["version"] == "9.8.7"
    assert re.search(
        r"^## Unreleased\n\n## 9\.8\.7 – \d{4}-\d\d-\d\d\n", (clone / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert git(clone, "tag", "--points-at", "HEAD").split() == ["v9.8.7"]
    assert git(clone, "status", "--porcelain") == ""
