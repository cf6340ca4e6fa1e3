"""The stages on a Dask cluster."""

from pathlib import Path

import pytest
from helpers.dask_cluster import DaskCluster
from helpers.project import Project, ran

from marketplace.cluster.connection import SCHEDULER_VARIABLE

# All stages that import marketplace.cluster. Workers compute shards, features for training, and recommendations; the
# stages between find the features that workers computed.
STAGES = [
    "clean",
    "resize_images",
    "train_small",
    "train_full",
    "fit",
    "extract",
    "data_report",
    "evaluate",
    "recommend",
]
N_WITH_WORKERS = 5


def test_stages_on_a_cluster_give_the_hashes_of_stages_on_one_machine(
    copy_of_reproduced: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copy_of_reproduced
    expected = project.out_hashes()
    dask = DaskCluster(tmp_path)
    try:
        dask.add_warm_workers(2, environment={"PYTHONPATH": str(project.folder / "src")})
        monkeypatch.setenv(SCHEDULER_VARIABLE, dask.address)
        monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path / "cache"))
        output = project.dvc("repro", "--force", "--single-item", *STAGES)
    finally:
        dask.stop()
    assert sorted(ran(output)) == sorted(STAGES)
    assert output.count("working on 2 workers of") == N_WITH_WORKERS
    assert project.out_hashes() == expected
