"""The architecture: which packages may import which, and what a command may load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

PACKAGE = ROOT / "src" / "marketplace"
# Lowest first; packages of one layer do not import each other.
LAYERS = [
    {"common"},
    {"compute"},
    {"cluster"},
    {"raw", "models", "reports", "vectors"},
    {"photos", "sources", "inference"},
    {"catalogue", "embedding", "training"},
    {"catalogue_map", "data_report", "evaluation", "recommendation"},
    {"review"},
    {"serving"},
    {"cli", "settings"},
]
LAYER_OF = {name: number for number, names in enumerate(LAYERS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(tree: ast.AST) -> set[str]:
    """The top-level names under `marketplace` that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports would escape this test"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("marketplace.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    mine = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if mine == "__init__":
        return
    for other in imported(ast.parse(path.read_text(encoding="utf-8"))) - {mine}:
        assert LAYER_OF[other] < LAYER_OF[mine], f"{mine} is not above {other}"


def test_every_package_has_a_layer() -> None:
    there = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert there == set(LAYER_OF) - {"cli", "settings"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_a_package_itself_is_a_docstring_alone(path: Path) -> None:
    (only,) = ast.parse(path.read_text(encoding="utf-8")).body
    assert isinstance(only, ast.Expr)
    assert isinstance(only.value, ast.Constant)
    assert isinstance(only.value.value, str)


def loaded_by(code: str) -> set[str]:
    """The modules that are loaded once `code` has run in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import marketplace.cli", {"torch", "pandas", "numpy", "pydantic", "dvc"}),
        ("import marketplace.common.params", {"torch", "pandas", "numpy"}),
        ("import marketplace.vectors.tables, marketplace.embedding.text_model", {"torch"}),
        ("import marketplace.recommendation.gallery, marketplace.recommendation.ranking", {"torch"}),
        (
            "import marketplace.serving.recommender, marketplace.serving.terminal",
            {"torch", "openvino", "faiss", "PIL", "sklearn", "pydantic", "jinja2", "fastapi", "qdrant_client"},
        ),
        (
            "import marketplace.embedding.onnx, marketplace.photos.squares, marketplace.serving.api",
            {"torch", "sklearn"},
        ),
        ("import marketplace.sources.fetch, marketplace.catalogue.clean", {"torch"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_command_does_not_need_is_not_loaded(code: str, heavy: set[str]) -> None:
    assert loaded_by(code) & heavy == set()
