"""Small Git repositories: with a DVC pipeline of two stages, or as a test fills them."""

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import yaml

# Of each file: its content.
FILES = {
    ".dvc/config": "",
    "params.schema.json": "{}",
    "params.yaml": "clean: {seed: 1}\n",
    "src/clean.py": "",
    "src/deep/other.py": "",
}
PIPELINE = {
    "fetch": {"cmd": "mkdir -p data && echo a > data/raw.csv", "outs": ["data/raw.csv"]},
    "clean": {
        "cmd": "cp data/raw.csv data/clean.csv",
        "deps": ["src/clean.py", "data/raw.csv"],
        "params": ["clean"],
        "outs": ["data/clean.csv"],
    },
}
DATA = dict.fromkeys(("data/raw.csv", "data/clean.csv"), "a\n")


def git(folder: Path, *arguments: str) -> str:
    """Run Git as somebody; fail if it does, else return its output."""
    identity = ["-c", "user.name=test", "-c", "user.email=test"]
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, text=True, capture_output=True).stdout


def commit_all(folder: Path, message: str = "change") -> str:
    """Commit everything and return the commit."""
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD").strip()


def small_pipeline(repository: Path, subfolder: str = "") -> Path:
    """Commit a pipeline that has run, without its data, in a new repository, and return the pipeline's folder."""
    folder = repository / subfolder
    stages = {name: {**stage, **_locked(stage)} for name, stage in PIPELINE.items()}
    pipeline = {
        "dvc.yaml": yaml.safe_dump({"stages": PIPELINE}),
        "dvc.lock": yaml.safe_dump({"schema": "2.0", "stages": stages}),
    }
    for name, content in (FILES | pipeline).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    git(repository, "init", "-q", "-b", "main")
    commit_all(repository)
    return folder


def _locked(stage: dict[str, Any]) -> dict[str, Any]:
    """The entries of dvc.lock for a stage."""
    contents = FILES | DATA
    entries = {
        kind: [
            {"path": path, "hash": "md5", "md5": hashlib.md5(contents[path].encode()).hexdigest()}
            for path in stage.get(kind, [])
        ]
        for kind in ("deps", "outs")
    }
    values = yaml.safe_load(FILES["params.yaml"])
    return entries | {"params": {"params.yaml": {name: values[name] for name in stage.get("params", [])}}}
