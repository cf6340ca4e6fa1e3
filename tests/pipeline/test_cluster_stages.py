"""The same bytes everywhere: another clone, on a Dask cluster, with a damaged cache."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.caches import make_damaged_cache
from helpers.dask_cluster import DaskCluster
from helpers.project import STAGES, Project, ran

from marketplace.cluster.connection import SCHEDULER_VARIABLE

# Stages whose work goes to workers: clean, resize_images, both training stages, extract and recommend.
N_WITH_WORKERS = 6


def test_another_clone_on_a_cluster_gives_the_same_hashes_even_if_the_cache_is_damaged(
    reproduced: Project, make_project: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = make_project()
    cache = make_damaged_cache(tmp_path / "cache")
    monkeypatch.setenv("MARKETPLACE_CACHE", cache)
    dask = DaskCluster(tmp_path)
    try:
        dask.add_warm_workers(2, environment={"PYTHONPATH": str(clone.folder / "src")})
        monkeypatch.setenv(SCHEDULER_VARIABLE, dask.address)
        output = clone.dvc("repro")
    finally:
        dask.stop()
    assert ran(output) == STAGES
    assert output.count("working on 2 workers of") == N_WITH_WORKERS
    assert clone.out_hashes() == reproduced.out_hashes()
    assert len(clone.out_hashes()) >= 20
    for name in ("compiled", "packs"):
        assert re.search(rf"{cache}/{name}/\S+ is damaged: it is computed again", output), name
