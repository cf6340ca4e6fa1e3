"""Dask clusters, and a folder that their workers share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.dask_cluster import DaskCluster


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A scheduler with two workers."""
    cluster = DaskCluster(tmp_path_factory.mktemp("dask"))
    cluster.add_workers(2)
    yield cluster
    cluster.stop()


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[DaskCluster]:
    """A scheduler without workers, for one test."""
    cluster = DaskCluster(tmp_path)
    yield cluster
    cluster.stop()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, and an empty cache next to it."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path / "cache"))
    return folder
