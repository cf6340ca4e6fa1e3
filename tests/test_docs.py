"""The commands in README and docs: each is one that exists, with options and parameters that exist."""

import ast
import importlib
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from dvc.cli import parse_args as parse_dvc
from helpers.paths import ROOT
from PIL import Image

from marketplace.cli import create_parser
from marketplace.review.lock import flatten

PAGES = [ROOT / "README.md", ROOT / "docs/after-repro.txt", *sorted(ROOT.glob("docs/*.md"))]
STARTS = ("marketplace ", "dvc ", "make ", "python benchmarks/")


def commands() -> Iterator[tuple[str, str]]:
    """(page, command) of everything in a bash block or between backquotes that is a command of this project."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in joined(block)]
        lines += re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
        if page.suffix == ".txt":
            lines += [line.strip().split("   ")[0] for line in text.splitlines()]
        for line in lines:
            for part in re.split(r" && | & |; ", line):
                bare = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", part.strip())  # without environment variables
                if bare.startswith(STARTS) or bare in ("dvc repro", "dvc push", "dvc pull"):
                    yield page.name, bare


def joined(block: str) -> list[str]:
    """The lines of a block, continued ones as one, without comments."""
    return [re.sub(r"\s+#.*", "", line) for line in block.replace("\\\n", " ").splitlines()]


EVERY = sorted(set(commands()))


def words_of(command: str) -> list[str]:
    return [word for word in shlex.split(command) if word not in ("…", "...")]


@pytest.mark.parametrize(("page", "command"), EVERY, ids=lambda value: value)
def test_a_documented_command_exists(page: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    program, *arguments = words_of(command)
    if program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert arguments[0] in targets
    elif program == "python":
        script = ROOT / arguments[0]
        options = set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', script.read_text())) | {"--json"}
        if "params=False" not in script.read_text():
            options |= {"-S", "--set"}
        used = {word for word in arguments[1:] if word.startswith("-") and not re.fullmatch(r"-?[\d.]+", word)}
        assert used <= options, f"{arguments[0]} has {sorted(options)}"
    elif program == "marketplace":
        named_alone = len(arguments) == 1  # in a sentence, whatever arguments it takes
        accepted(create_parser().parse_args, [*arguments, "--help"] if named_alone else arguments)
    else:
        accepted(parse_dvc, arguments)
    for name in re.findall(r"-S ([\w.]+)=", command):
        assert name in flatten(yaml.safe_load((ROOT / "params.yaml").read_text())), name


def accepted(parse: object, arguments: list[str]) -> None:
    try:
        parse(arguments)  # type: ignore[operator]
    except SystemExit as end:
        assert end.code == 0, f"{arguments} is refused"


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not target.startswith(("http", "../../actions")):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_benchmark_is_in_the_docs() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for script in ROOT.glob("benchmarks/*.py"):
        runs = any(
            isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)
            for node in ast.parse(script.read_text()).body
        )
        assert not runs or f"benchmarks/{script.name}" in text, script.name


FIGURES_OF_TABLES = {"results", "ablation"}  # files from which tables are made


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that writes tables of figures into pages."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("figures")


def test_figures_are_those_of_the_files_that_benchmarks_wrote(figures: ModuleType) -> None:
    shown = set()
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "metrics"], cwd=ROOT).returncode
    for page in PAGES:
        for block in figures.BLOCK.finditer(page.read_text(encoding="utf-8")):
            shown.add(block[2])
            if not (changed and block[2] in figures.OF_THE_SAMPLE):  # results of this machine, not committed yet
                assert figures.refresh(block[0]) == block[0], f"{page.name}: run `python benchmarks/figures.py`"
    assert json.loads(figures.HEADLINES.read_text()) == figures.headlines()
    tables = {path.stem for path in figures.MARKET.glob("*.json") if "table" in json.loads(path.read_text())}
    assert shown == tables.difference(FIGURES_OF_TABLES) | set(figures.TABLES)


def test_a_benchmark_whose_results_are_kept_writes_the_pages_that_show_them(
    figures: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- figures: market-judged -->\nstale\n<!-- end -->\nafter\n")
    results = json.loads((figures.MARKET / "results.json").read_text())
    results["figures"]["judged"]["photo"]["test"] |= {
        "questions": 7,
        "ndcg_at_8": {"mean": 0.5, "low": 0.4, "high": 0.6},
    }
    workspace = importlib.import_module("workspace")
    for module in (figures, workspace):
        monkeypatch.setattr(module, "MARKET", tmp_path / "market")
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    monkeypatch.setattr(figures, "HEADLINES", tmp_path / "market.json")
    results["figures"]["summary"]["accuracy"] = 0.123
    monkeypatch.setattr(figures, "PAGES", [page])
    workspace.report(results, "", tmp_path / "market/results.json")
    assert re.match(r"before\n<!-- .* -->\n\| similar to ", page.read_text())
    assert re.search(r"\n\| one photo alone \| 7 \| \S+ \(\S+\) \| 0\.500 \(0\.400–0\.600\) \|\n", page.read_text())
    assert page.read_text().endswith("<!-- end -->\nafter\n")
    assert "stale" not in page.read_text()
    assert json.loads((tmp_path / "market.json").read_text())["market"]["accuracy"] == 0.123
    assert {"machine", "commit"} <= json.loads((tmp_path / "market/results.json").read_text()).keys()


def test_pictures_are_small_and_shown() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for path in (ROOT / "docs/pictures").iterdir():
        assert f"pictures/{path.name})" in text, path.name
        assert path.stat().st_size < 150_000, path.name
        with Image.open(path) as picture:
            picture.verify()


def test_anchors_lead_to_headings() -> None:
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]*)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                linked = (page.parent / target if target else page).read_text(encoding="utf-8")
                assert anchor in map(slug, re.findall(r"^#+ (.*)$", linked, re.MULTILINE)), (
                    f"{page.name}: {target}#{anchor}"
                )


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
