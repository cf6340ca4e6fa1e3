"""A Dask cluster that fails: workers that may not work for this machine, runs that end early, a lost scheduler."""

import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest
from helpers import dask_cluster
from helpers.dask_cluster import DaskCluster
from helpers.paths import ROOT

from marketplace.cluster import connection
from marketplace.cluster.connection import SCHEDULER_VARIABLE
from marketplace.cluster.tasks import run_on_cluster
from marketplace.common.errors import MarketplaceError


def other_packages(folder: Path) -> dict[str, str]:
    """The environment of a worker with another version of a package."""
    (folder / "tqdm-1.0.dist-info").mkdir(parents=True)
    (folder / "tqdm-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: tqdm\nVersion: 1.0\n")
    return {"PYTHONPATH": str(folder)}


def other_code(folder: Path) -> dict[str, str]:
    """The environment of a worker with a copy of this package that was edited."""
    shutil.copytree(ROOT / "src", folder)
    with (folder / "marketplace/photos/codec.py").open("a") as file:
        file.write("# edited\n")
    return {"PYTHONPATH": str(folder)}


def no_code(folder: Path) -> dict[str, str]:
    """The environment of a worker that has another package of this name."""
    (folder / "marketplace").mkdir(parents=True)
    (folder / "marketplace/__init__.py").touch()
    return {"PYTHONPATH": str(folder)}


def other_processor(folder: Path) -> dict[str, str]:
    """The environment of a worker whose system reports a processor without vector instructions."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(
        "from pathlib import Path\n"
        "read_text = Path.read_text\n"
        "Path.read_text = lambda path, *options, **more: read_text(path, *options, **more).replace('avx', '')\n"
    )
    return {"PYTHONPATH": str(folder)}


def test_a_worker_that_may_give_other_bytes_is_refused_before_any_work(
    folder: Path, scheduler: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCHEDULER_VARIABLE, scheduler.address)
    for other_environment, message in {
        other_packages: f"has tqdm 1.0, and this machine tqdm {version('tqdm')}: its results could differ",
        other_code: "has marketplace code ",
        no_code: "cannot run this code ",
        other_processor: f"has processor {platform.machine()}",
    }.items():
        environment = other_environment(folder / other_environment.__name__)
        with scheduler.temporary_worker(environment=environment), pytest.raises(MarketplaceError, match=message):
            run_on_cluster(dask_cluster.note_and_sleep, [(folder / "note", 0)])
    message = "does 2 tasks at once in one process: start workers with --nthreads 1"
    with scheduler.temporary_worker(threads=2), pytest.raises(MarketplaceError, match=message):
        run_on_cluster(dask_cluster.note_and_sleep, [(folder / "note", 0)])
    assert not (folder / "note").exists()


def test_a_worker_that_joins_later_is_refused_too(
    folder: Path, scheduler: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCHEDULER_VARIABLE, scheduler.address)
    with scheduler.temporary_worker():
        assert list(run_on_cluster(pow, [(3, 2)])) == [9]
    message = "which joined later, has other code, packages or another processor"
    environment = other_processor(folder)
    with scheduler.temporary_worker(environment=environment), pytest.raises(MarketplaceError, match=message):
        list(run_on_cluster(pow, [(3, 2)]))


def test_a_worker_without_the_shared_folder_is_refused(
    folder: Path, scheduler: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker sees another file system there, like a machine on which the folder is not mounted."""
    hidden = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none "{folder}" && exec "$@"', "sh"]
    if subprocess.run([*hidden, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this user may not mount anything, not even where only one process sees it")
    monkeypatch.setenv(SCHEDULER_VARIABLE, scheduler.address)
    message = f"does not share the folder {folder} with this machine"
    with scheduler.temporary_worker(prefix=hidden), pytest.raises(MarketplaceError, match=message):
        run_on_cluster(pow, [(3, 2)])


PROGRAM = """
import sys
from pathlib import Path
from helpers.dask_cluster import note_and_sleep
from marketplace.common.console import report_errors
from marketplace.cluster.placement import map_shards

with report_errors():
    list(map_shards(note_and_sleep, [(Path(f"note{number}"), 2.0) for number in range(40)], "sleeping"))
"""


@contextmanager
def sleeping_program(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Yield a program whose tasks sleep, once two of them have begun."""
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while process.poll() is None and len(list(folder.glob("note*"))) < 2:
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.communicate()


def read_notes(folder: Path) -> set[str]:
    """Return the different notes of the tasks that began."""
    return {path.read_text() for path in folder.glob("note*")}


def test_ctrl_c_ends_the_work_there_too(folder: Path, dask: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SCHEDULER_VARIABLE, dask.address)
    with sleeping_program(folder) as process:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "Interrupted: nothing half-written is left." in errors
    assert "Traceback" not in errors
    begun = len(list(folder.glob("note*")))
    assert read_notes(folder) == {"begun\ndone\n"}  # tasks that had begun were waited for
    time.sleep(2.5)
    assert len(list(folder.glob("note*"))) == begun < 10


def test_the_tasks_of_a_killed_run_are_waited_for(
    folder: Path, dask: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They write to files that the next run writes too."""
    monkeypatch.setenv(SCHEDULER_VARIABLE, dask.address)
    with sleeping_program(folder) as process:
        process.kill()
        process.wait()
        assert "begun\n" in read_notes(folder)
        list(run_on_cluster(pow, [(3, 2)]))
        assert read_notes(folder) == {"begun\ndone\n"}


def test_a_scheduler_that_is_lost_ends_the_run_with_a_sentence(
    folder: Path, scheduler: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCHEDULER_VARIABLE, scheduler.address)
    scheduler.add_workers(2)
    with sleeping_program(folder) as process:
        scheduler.kill_scheduler()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert f"ERROR: the scheduler {scheduler.address} was lost" in errors
    assert "Traceback" not in errors


def test_a_client_that_gave_up_ends_with_a_sentence_too(
    folder: Path, scheduler: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask closes a client that cannot reconnect; calls of it then fail with errors of other kinds."""
    monkeypatch.setenv(SCHEDULER_VARIABLE, scheduler.address)
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 4)  # a busy machine takes a while to connect
    scheduler.add_workers(1)
    results = run_on_cluster(pow, [(2, 1)] * 50)
    assert next(results) == 2
    client = connection.connect(scheduler.address)
    scheduler.kill_scheduler()
    while client.status != "closed":
        time.sleep(0.1)
    with pytest.raises(MarketplaceError, match=r"the scheduler .* was lost"):
        list(results)
    with pytest.raises(MarketplaceError, match=r"the scheduler .* was lost"):
        list(run_on_cluster(pow, [(2, 1)]))


def test_a_scheduler_that_is_lost_while_it_sends_a_result_is_named(
    folder: Path, scheduler: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCHEDULER_VARIABLE, scheduler.address)
    scheduler.add_workers(1)
    results = run_on_cluster(pow, [(2, 1)] * 2)
    assert next(results) == 2
    while any(state.status != "finished" for state in connection.connect(scheduler.address).futures.values()):
        time.sleep(0.1)
    with scheduler.silence_and_kill_scheduler(), pytest.raises(MarketplaceError, match=r"the scheduler .* was lost"):
        list(results)
