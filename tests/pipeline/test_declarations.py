"""dvc.yaml says what is true: the files a stage opens, the modules it imports and the parameters it reads."""

import ast
import json
import re
import shutil
import subprocess
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.paths import ROOT
from helpers.project import STAGES, Project, ran
from pydantic import BaseModel

from marketplace.settings import Settings

# Checked by every stage, though nothing but its own sections changes its outputs; and docstrings.
DOCSTRINGS = {"src/marketplace/__init__.py", "src/marketplace/compute/__init__.py"}
NOT_A_DEPENDENCY = {"params.yaml", "params.schema.json", *DOCSTRINGS}
# Decides where work runs, not what it gives: tests/pipeline/test_cluster_stages.py compares the bytes of every stage.
WHERE_WORK_RUNS = "src/marketplace/cluster"
SOURCE = ROOT / "src" / "marketplace"
# Opened by DVCLive, which asks DVC what the stage's outputs are, and by Python and Git on the way.
NOT_OURS = re.compile(
    r"(\.git|\.dvc)(/|$)|dvc\.(yaml|lock)$|\.(git|dvc)ignore$|__pycache__|pyvenv\.cfg$|pyproject\.toml$"
)
# Dependencies that a stage opens only on a machine with a GPU, and the one that only tells DVC that a source changed.
NOT_ALWAYS_READ = {("fetch", "data/source.json")} | {
    (stage, path)
    for stage in ("fit", "extract", "data_report", "evaluate")
    for path in ("models/pretrained.pt", "src/marketplace/models")
}
NEED_PYTORCH = {"pretrained", "train_small", "train_full"}

CALL = re.compile(r'(?:open|openat|openat2|creat)\((?:AT_FDCWD(?:<[^>]*>)?, )?"([^"]+)", ([^)]*)\)? += \d')


def paths(entries: list[Any]) -> set[str]:
    """The paths of a list in dvc.yaml, whose entries may carry options."""
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


def declared(project: Project, stage: str) -> tuple[set[str], set[str]]:
    """(deps, outs) of a stage."""
    entry = project.stages()[stage]
    outs = set().union(*(paths(entry.get(kind, [])) for kind in ("outs", "metrics", "plots")))
    return paths(entry["deps"]), outs


def opened(project: Project, stage: str, log: Path) -> tuple[set[str], set[str]]:
    """(read, written) files of the project when the stage's command runs, in all of its processes."""
    command = str(project.stages()[stage]["cmd"])
    # With an empty cache, a stage reads all that it may ever read.
    cache = {"MARKETPLACE_CACHE": str(log.with_name("cache"))}
    environment = {**project.environment(warm=False), **cache, "PYTHONDONTWRITEBYTECODE": "1"}
    calls = "trace=open,openat,openat2,creat"
    subprocess.run(
        ["strace", "-f", "--seccomp-bpf", "-qq", "-e", calls, "-o", log, "sh", "-c", command],
        cwd=project.folder,
        env=environment,
        check=True,
        capture_output=True,
    )
    read: set[str] = set()
    written: set[str] = set()
    for line in log.read_text(errors="replace").splitlines():
        match = CALL.search(line)
        if match is None or "O_DIRECTORY" in match[2]:
            continue
        path = (project.folder / match[1]).resolve()
        if not path.is_relative_to(project.folder.resolve()):
            continue
        name = str(path.relative_to(project.folder.resolve()))
        if name == "." or NOT_OURS.search(name):
            continue
        (read if "O_RDONLY" in match[2] else written).add(name)
    return read, written


def inside(name: str, declarations: set[str]) -> bool:
    return any(name == path or name.startswith(f"{path}/") for path in declarations)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_opens_what_it_declares_and_nothing_else(
    copy_of_reproduced: Project, stage: str, tmp_path: Path
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")
    traced = copy_of_reproduced
    # With a warm start, train_full reads all that it may ever read.
    traced.set(**{"train_full.warm_start": True, "train_small.epochs": 1, "train_full.epochs": 1})
    deps, outs = declared(traced, stage)
    read, written = opened(traced, stage, tmp_path / "strace.log")
    assert read, "the trace saw nothing"
    written = {re.sub(r"\.part(/|$)", r"\1", name) for name in written}

    undeclared = {name for name in read if not inside(name, deps | outs | {WHERE_WORK_RUNS})} - NOT_A_DEPENDENCY
    undeclared -= {name for name in undeclared if name.endswith(".part") or inside(name.partition(".part/")[0], outs)}
    assert undeclared == set(), "read, but no dep"
    assert {name for name in written if not inside(name, outs) and not name.startswith("logs/")} == set(), "no out"

    unused = {path for path in deps if not any(inside(name, {path}) for name in read)}
    unused -= {path for at, path in NOT_ALWAYS_READ if at == stage}
    assert unused == set(), "a dep, but never read"
    assert {path for path in outs if not (traced.folder / path).exists()} == set(), "an out, but never made"
    loads_pytorch = "/site-packages/torch/" in (tmp_path / "strace.log").read_text(errors="replace")
    assert loads_pytorch == (stage in NEED_PYTORCH)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_says_what_it_does(stage: str) -> None:
    """`dvc stage list` shows it in one line of a terminal."""
    assert len(f"{stage}  {load_yaml()[stage]['desc']}") <= 100


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_deps_are_the_modules_it_imports(stage: str) -> None:
    entry = load_yaml()[stage]
    imported = modules_of(entry)
    listed = {path for path in paths(entry["deps"]) if path.startswith("src/")}
    undeclared = {path for path in imported if not inside(path, listed | {WHERE_WORK_RUNS})}
    assert undeclared == set(), "imported, but no dep"
    assert {path for path in listed if not any(inside(name, {path}) for name in imported)} == set(), "never imported"
    assert script_of(entry) in paths(entry["deps"])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_nine_tenths_of_the_lines_it_declares(stage: str) -> None:
    """Otherwise an edit reruns stages that never see it: move what they do not share to a package of its own."""
    entry = load_yaml()[stage]
    listed = [ROOT / path for path in paths(entry["deps"]) if path.startswith("src/")]
    files = {file for path in listed for file in (path.rglob("*.py") if path.is_dir() else [path])}
    unused = files - {ROOT / name for name in modules_of(entry)}
    assert lines(unused) <= lines(files) / 10, sorted(f"{lines({file})} {file.relative_to(ROOT)}" for file in unused)


def lines(files: set[Path]) -> int:
    return sum(len(file.read_text().splitlines()) for file in files)


def script_of(entry: dict[str, Any]) -> str:
    script = re.search(r"stages/\w+\.py", entry["cmd"])
    assert script is not None
    return script[0]


def modules_of(entry: dict[str, Any]) -> set[str]:
    """The modules of this project that a stage imports, at once or later, as paths."""
    finder = ModuleFinder(path=[str(ROOT / "src")])
    finder.run_script(str(ROOT / script_of(entry)))
    return {
        str(Path(str(getattr(module, "__file__", ""))).relative_to(ROOT))
        for name, module in finder.modules.items()
        if name.partition(".")[0] == "marketplace"
    } - NOT_A_DEPENDENCY


def load_yaml() -> dict[str, Any]:
    stages: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    return stages


def loaded_sections(script: Path) -> set[str]:
    """The sections that a stage script asks `load_section` for."""
    calls = (node for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.Call))
    return {ast.literal_eval(call.args[0]) for call in calls if getattr(call.func, "id", "") == "load_section"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_params_are_the_sections_it_loads(stage: str) -> None:
    entry = load_yaml()[stage]
    sections = loaded_sections(ROOT / script_of(entry))
    if stage.startswith("train_"):  # both run one script
        sections -= {"train_small", "train_full"} - {stage}
    assert sections == set(entry.get("params", []))


def test_nothing_but_the_stage_scripts_reads_params() -> None:
    """So that the test above sees all that a stage reads."""
    reading = re.compile(r"\b(load_section|check_params|read_params)\(")
    readers = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if reading.search(path.read_text())}
    telling = {"training/mlflow_run.py", "review/experiments.py"}  # others of them, without using them
    assert readers == {"common/params.py", "common/console.py", "settings.py", "review/commands.py"} | telling


def test_every_section_belongs_to_a_stage() -> None:
    declared_sections = {section for entry in load_yaml().values() for section in entry.get("params", [])}
    assert set(Settings.model_fields) == declared_sections | {"watch"}  # stages/dvc.yaml reads that one


def test_every_key_is_read_by_the_code() -> None:
    """A key that nothing reads would look as if it did something."""
    code = "\n".join(path.read_text() for path in [*SOURCE.rglob("*.py"), *(ROOT / "stages").glob("*.py")])
    read = set(re.findall(r"\.(\w+)\b", code))

    def keys(model: type[BaseModel]) -> set[str]:
        names: set[str] = set()
        for name, field in model.model_fields.items():
            nested = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
            names |= keys(field.annotation) if nested else {name}  # type: ignore[arg-type]
        return names

    assert keys(Settings) - read == set()


def test_a_new_key_of_recommend_reruns_recommend_alone(copy_of_reproduced: Project) -> None:
    project = copy_of_reproduced
    rules = project.folder / "src/marketplace/recommendation/rules.py"
    text = rules.read_text()
    assert "    k: Annotated" in text
    rules.write_text(text.replace("    k: Annotated", "    novelty: bool\n    k: Annotated", 1))
    project.set(**{"recommend.novelty": True})
    project.run("env", "PYTHONPATH=src", "python", "-m", "marketplace.settings")
    status = json.loads(project.dvc("status", "--json"))
    assert list(status) == ["recommend"]
    assert ran(project.dvc("repro")) == ["recommend"]
