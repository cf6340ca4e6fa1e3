"""The architecture: which packages may import which, and which modules a command may load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

PACKAGE = ROOT / "src" / "marketplace"
# Lowest first; packages in the same layer do not import each other.
LAYERS = [
    {"common"},
    {"compute"},
    {"cluster"},
    {"raw", "models", "reports", "vectors", "relevance"},
    {"photos", "sources", "inference"},
    {"texts"},
    {"catalogue", "embedding", "pretrained", "training"},
    {"catalogue_map", "data_report", "evaluation", "recommendation"},
    {"review"},
    {"serving"},
    {"cli", "settings"},
]
LAYER_OF = {name: number for number, names in enumerate(LAYERS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


def imported_packages(tree: ast.AST) -> set[str]:
    """Return the packages of `marketplace` that a module imports, anywhere in it."""
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
    importer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if importer == "__init__":
        return
    for package in imported_packages(ast.parse(path.read_text(encoding="utf-8"))) - {importer}:
        assert LAYER_OF[package] < LAYER_OF[importer], f"{importer} is not above {package}"


def test_every_package_has_a_layer() -> None:
    packages = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert packages == set(LAYER_OF) - {"cli", "settings"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_the_init_of_a_package_holds_only_a_docstring(path: Path) -> None:
    (statement,) = ast.parse(path.read_text(encoding="utf-8")).body
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Constant)
    assert isinstance(statement.value.value, str)


def modules_loaded_by(code: str) -> set[str]:
    """Return the modules that are loaded once `code` has run in a new process."""
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
        ("import marketplace.vectors.tables, marketplace.texts.text_model", {"torch"}),
        ("import marketplace.recommendation.gallery, marketplace.recommendation.ranking", {"torch"}),
        (
            "import marketplace.serving.recommender, marketplace.serving.terminal",
            {"torch", "openvino", "faiss", "PIL", "sklearn", "jinja2", "fastapi", "qdrant_client"},
        ),
        (
            "import marketplace.embedding.onnx, marketplace.photos.squares, marketplace.serving.api",
            {"torch", "sklearn"},
        ),
        ("import marketplace.sources.fetch, marketplace.catalogue.clean", {"torch"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_command_loads_no_heavy_module_that_it_does_not_need(code: str, heavy: set[str]) -> None:
    assert modules_loaded_by(code) & heavy == set()
