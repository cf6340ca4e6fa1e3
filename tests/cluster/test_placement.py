"""Functions that a cluster's workers read from a file of the cache."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.full_disk import limit_file_size

from marketplace.cluster import placement
from marketplace.cluster.connection import SCHEDULER_VARIABLE
from marketplace.cluster.placement import apply_to_each, store_on_workers
from marketplace.common.errors import MarketplaceError

ADD = functools.partial(np.add, np.arange(1000.0))


def test_without_room_for_the_file_this_process_does_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(SCHEDULER_VARIABLE, "tcp://127.0.0.1:1")
    with limit_file_size(1000):
        results = list(apply_to_each(ADD, [1.0, 2.0]))
    np.testing.assert_array_equal(results, [ADD(1.0), ADD(2.0)])
    assert "cannot hold more (File too large): this process does the workers' work" in caplog.text


def test_results_that_a_worker_could_not_store_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    parts = [np.arange(3), np.arange(3, 5)]
    progress: list[int] = []
    store_on_workers(lambda rows: len(rows) == 3, parts, SimpleNamespace(update=progress.append))
    assert progress == [3, 2]
    assert [record.getMessage() for record in caplog.records] == [
        "a worker could not store its results (its log says why): they are computed here instead"
    ]


def test_a_file_that_was_damaged_on_the_way_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damage_and_run(work: Callable[..., Any], tasks: list[tuple[Path, float]]) -> Iterator[Any]:
        path = tasks[0][0]
        content = bytearray(path.read_bytes())
        content[-100] ^= 1  # in the array, which joblib reads all the same
        path.write_bytes(content)
        return (work(*task) for task in tasks)

    monkeypatch.setenv(SCHEDULER_VARIABLE, "tcp://127.0.0.1:1")
    monkeypatch.setattr(placement, "run_on_cluster", damage_and_run)
    with pytest.raises(MarketplaceError, match=r"function is damaged: run the stage again"):
        list(apply_to_each(ADD, [1.0]))
