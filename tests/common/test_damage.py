"""Outputs that are damaged, in the workspace and in DVC's cache: the advice of the error makes them again."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from helpers.paths import ROOT
from helpers.project import Project, ran

from marketplace.common.damage import how_to_heal, reading
from marketplace.common.errors import MarketplaceError
from marketplace.compute.arrays import ShardedArray
from marketplace.models import checkpoints
from marketplace.raw.shards import read_shard

PROGRAM = """
from pathlib import Path
import numpy as np
from marketplace.models import checkpoints
from marketplace.raw.shards import write_shards
checkpoints.save(Path("model.pt"), {"numbers": list(range(1000))})
write_shards([(f"{number}.jpg", bytes(number)) for number in range(9)], Path("photos"), 2)
Path("arrays").mkdir()
for number in range(2):
    np.save(f"arrays/{number}.npy", np.full((4, 3), number, np.uint8))
"""
READERS: dict[str, Callable[[Path], object]] = {
    "model.pt": checkpoints.load,
    "photos/000.tar": lambda path: list(read_shard(path)),
    "arrays/1.npy": lambda path: ShardedArray(path.parent),
}
OUTS = ["model.pt", "photos", "arrays"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A repository with DVC, and with a stage that has run."""
    project = Project.at(tmp_path_factory.mktemp("repository"))
    (project.folder / "make.py").write_text(PROGRAM)
    stage = {"cmd": f"PYTHONPATH={ROOT / 'src'} python make.py", "deps": ["make.py"], "outs": OUTS}
    (project.folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"make": stage}}))
    project.dvc("init", "--no-scm", "-q")
    project.dvc("repro", "-q")
    return project


def cut(path: Path) -> None:
    """Cut a file short; its time and its mode, by which DVC trusts it, stay the same."""
    status = path.stat()
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 8])
    path.chmod(status.st_mode)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def cached(content: bytes) -> Path:
    """The file of DVC's cache with this content."""
    files = [path for path in Path(".dvc/cache/files").rglob("*") if path.is_file()]
    (path,) = [path for path in files if path.read_bytes() == content]
    return path


@pytest.mark.parametrize("in_cache", [False, True], ids=["here", "in the cache too"])
def test_following_the_advice_makes_damaged_outputs_again(
    repository: Project, in_cache: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository.folder)
    before = {name: Path(name).read_bytes() for name in READERS}
    for name, content in before.items():
        if in_cache:
            cut(cached(content))
        cut(Path(name))
    if in_cache:  # then this alone is no advice
        assert ran(repository.dvc("repro")) == []
    for name, read in READERS.items():
        with pytest.raises(MarketplaceError, match="is damaged") as caught:
            read(Path(name))
        (files,) = re.findall(r"delete (.*), then run `dvc repro`", str(caught.value))
        assert len(files.split(" and ")) == 1 + in_cache
        for file in files.split(" and "):
            Path(file).unlink()
    assert ran(repository.dvc("repro")) == ["make"] * in_cache
    assert {name: Path(name).read_bytes() for name in READERS} == before
    assert all(cached(content) for content in before.values())


@pytest.mark.parametrize(
    ("name", "read"),
    [("table.parquet", pd.read_parquet), ("values.json", lambda path: json.loads(path.read_text())["best"])],
)
def test_a_table_or_json_that_is_damaged_is_named(tmp_path: Path, name: str, read: Callable[[Path], object]) -> None:
    path = tmp_path / name
    with pytest.raises(FileNotFoundError), reading(path):
        read(path)
    pd.DataFrame({"best": np.arange(1000)}).to_parquet(tmp_path / "table.parquet")
    (tmp_path / "values.json").write_text('{"best": {"epoch": 1, "loss": 0.25}}')
    with reading(path):
        read(path)
    sound = path.read_bytes()
    for damaged in (sound[: len(sound) // 2], sound[:-9] + b"x" * 9, b"", b"{}"):
        path.write_bytes(damaged)
        with pytest.raises(MarketplaceError, match=rf"{name} is damaged \(.*\): delete .*{name}"), reading(path):
            read(path)


def test_outside_a_repository_only_the_file_is_named(tmp_path: Path) -> None:
    assert how_to_heal(tmp_path / "x") == f"delete {tmp_path / 'x'}, then run `dvc repro`, or `dvc pull`"
