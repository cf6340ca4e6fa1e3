"""dvc.yaml says what is true: the files a stage opens, the modules it imports and the parameters it reads."""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Callable
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, STAGES, Project
from pydantic import BaseModel
from servers import S3Server, SshServer

from marketplace import settings as settings_module
from marketplace.settings import load_settings

# Opened by DVCLive, which asks DVC what the stage's outputs are, and by Python and Git on the way.
NOT_OURS = re.compile(
    r"(\.git|\.dvc)(/|$)|dvc\.(yaml|lock)$|\.(git|dvc)ignore$|__pycache__|pyvenv\.cfg$|pyproject\.toml$"
)
# The one dependency that a stage opens only when told so (train_full.warm_start: false).
NOT_ALWAYS_READ = {("train_full", "models/pretrained.pt")}

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
    environment = {**project.environment(), "PYTHONDONTWRITEBYTECODE": "1"}
    calls = "trace=open,openat,openat2,creat"
    subprocess.run(
        ["strace", "-f", "--seccomp-bpf", "-qq", "-e", calls, "-o", log, "sh", "-c", command],
        cwd=project.folder, env=environment, check=True, capture_output=True,
    )  # fmt: skip
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
    traced.set(**{"train_full.warm_start": True})  # with it, train_full reads all that it may ever read
    deps, outs = declared(traced, stage)
    read, written = opened(traced, stage, tmp_path / "strace.log")
    assert read, "the trace saw nothing"
    written = {re.sub(r"\.part(/|$)", r"\1", name) for name in written}

    undeclared = {name for name in read if not inside(name, deps | outs) and name != "params.yaml"}
    undeclared -= {name for name in undeclared if name.endswith(".part") or inside(name.partition(".part/")[0], outs)}
    assert undeclared == set(), "read, but no dep"
    assert {name for name in written if not inside(name, outs) and not name.startswith("logs/")} == set(), "no out"

    unused = {path for path in deps if not any(inside(name, {path}) for name in read)}
    unused -= {path for at, path in NOT_ALWAYS_READ if at == stage}
    assert unused == set(), "a dep, but never read"
    assert {path for path in outs if not (traced.folder / path).exists()} == set(), "an out, but never made"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_deps_are_the_modules_it_imports(stage: str) -> None:
    entry = load_yaml()[stage]
    script = re.search(r"stages/\w+\.py", entry["cmd"])
    assert script is not None
    finder = ModuleFinder(path=[str(ROOT / "src")])
    finder.run_script(str(ROOT / script[0]))
    imported = {
        str(Path(str(getattr(module, "__file__", ""))).relative_to(ROOT))
        for name, module in finder.modules.items()
        if name.partition(".")[0] == "marketplace"
    }
    listed = {path for path in paths(entry["deps"]) if path.startswith("src/") and not path.endswith(".html")}
    assert {path for path in imported if not inside(path, listed)} == set(), "imported, but no dep"
    assert {path for path in listed if not any(inside(name, {path}) for name in imported)} == set(), "never imported"
    assert script[0] in paths(entry["deps"])


def load_yaml() -> dict[str, Any]:
    import yaml

    stages: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    return stages


class Watched:
    """Settings that note which of their values are read."""

    def __init__(self, values: BaseModel, prefix: str, read: set[str]) -> None:
        self._values, self._prefix, self._read = values, prefix, read

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._values, name)
        if isinstance(value, BaseModel):
            return Watched(value, f"{self._prefix}{name}.", self._read)
        self._read.add(f"{self._prefix}{name}")
        return value


def params_read(stage: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The parameters that a stage's `main` reads."""
    read: set[str] = set()
    monkeypatch.chdir(project.folder)
    monkeypatch.setattr(settings_module, "load_settings", lambda: Watched(load_settings(), "", read))
    script, *arguments = str(project.stages()[stage]["cmd"]).partition("stages/")[2].split()
    spec = importlib.util.spec_from_file_location("stage", project.folder / "stages" / script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(*arguments)
    return read


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_params_are_those_it_reads(
    make_project: Callable[..., Project],
    copy_of_reproduced: Project,
    stage: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    aws: None,
    server: SshServer,
    s3: S3Server,
) -> None:
    read = params_read(stage, copy_of_reproduced, monkeypatch)
    if stage == "fetch":  # each source reads its own
        (tmp_path / "images").mkdir()
        for name in ("products.csv", "images.csv", "images/x.jpg"):
            (tmp_path / name).touch()
        s3.upload("declared", {"products.csv": b"", "images.csv": b"", "images/x.jpg": b""})
        known_hosts = str(tmp_path / "known_hosts")
        Path(known_hosts).write_text(server.known_hosts_line())
        for source in (
            {"fetch.source": "local", "fetch.local.path": str(tmp_path)},
            {"fetch.source": "ec2", "fetch.ec2": server.settings()},
            {
                "fetch.source": "ec2",
                "fetch.ec2": {**server.settings(), "fingerprint": None, "known_hosts": known_hosts},
            },
            {"fetch.source": "s3", "fetch.s3": {"url": "s3://declared", "endpoint_url": s3.url}},
        ):
            read |= params_read(stage, make_project(**source), monkeypatch)
    assert read == set(copy_of_reproduced.stages()[stage].get("params", []))


def test_every_parameter_belongs_to_a_stage() -> None:
    def keys(model: type[BaseModel], prefix: str = "") -> set[str]:
        found: set[str] = set()
        for name, field in model.model_fields.items():
            nested = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
            found |= keys(field.annotation, f"{prefix}{name}.") if nested else {prefix + name}  # type: ignore[arg-type]
        return found

    declared_params = {param for entry in load_yaml().values() for param in entry.get("params", [])}
    assert keys(settings_module.Settings) == declared_params
