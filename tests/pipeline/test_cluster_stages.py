"""The stages on a Dask cluster."""

from pathlib import Path

import pytest
from helpers.dask_cluster import DaskCluster
from helpers.project import Project

from marketplace.cluster.connection import SCHEDULER_VARIABLE


def test_stages_on_a_cluster_give_the_hashes_of_stages_on_one_machine(
    copy_of_reproduced: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copy_of_reproduced
    expected = project.out_hashes()
    dask = DaskCluster(tmp_path)
    try:
        dask.add_workers(2, environment={"PYTHONPATH": str(project.folder / "src")})
        monkeypatch.setenv(SCHEDULER_VARIABLE, dask.address)
        monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path / "cache"))
        said = project.dvc("repro", "--force", "--single-item", "clean", "resize_images", "recommend")
    finally:
        dask.stop()
    assert said.count("working on 2 workers of") == 3
    assert project.out_hashes() == expected
