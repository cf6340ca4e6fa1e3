"""A real Dask scheduler with workers in processes of their own, and tasks for them."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from distributed import Client

from helpers.paths import ROOT
from helpers.servers import free_port, wait_for_port
from marketplace.cluster import client

logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # it tells at length that it lost a scheduler
PROGRAM = [sys.executable, "-m", "dask"]


class DaskCluster:
    """A scheduler; `add_workers` starts workers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[Any]] = []
        port = free_port()
        self.address = f"tcp://127.0.0.1:{port}"
        self._scheduler = self._start([*PROGRAM, "scheduler", "--host", "127.0.0.1", "--port", str(port)], {})
        wait_for_port(port, self._scheduler, self.log)
        self.client = Client(self.address)

    @property
    def log(self) -> Path:
        """What the scheduler and the workers print."""
        return self._folder / "cluster.log"

    def add_workers(
        self, count: int = 1, *, threads: int = 1, environment: dict[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> None:
        """Start workers, and wait until they are there."""
        before = len(self.client.scheduler_info(n_workers=-1)["workers"])
        command = [*PROGRAM, "worker", self.address, "--nworkers", str(count), "--nthreads", str(threads)]
        self._start([*prefix, *command, "--local-directory", str(self._folder)], environment or {})
        self.client.wait_for_workers(before + count, timeout=60)

    @contextmanager
    def workers_for_a_moment(self, **options: Any) -> Iterator[None]:
        """A worker, only in the block."""
        self.add_workers(**options)
        yield
        self._kill(self._processes.pop())
        while self.client.scheduler_info(n_workers=-1)["workers"]:
            time.sleep(0.1)

    def stop(self) -> None:
        """End everything, at once."""
        self.client.close()
        for process in self._processes:
            self._kill(process)

    def lose_scheduler(self) -> None:
        """Kill the scheduler alone."""
        self._scheduler.kill()
        self._scheduler.wait()

    @contextmanager
    def lost_after_a_silence(self) -> Iterator[None]:
        """Let the scheduler answer nothing from here on, and kill it after a second."""
        self._scheduler.send_signal(signal.SIGSTOP)
        timer = threading.Timer(1, self.lose_scheduler)
        timer.start()
        yield
        timer.join()

    @contextmanager
    def killing_one_that_works(self, folder: Path) -> Iterator[None]:
        """Kill a worker as soon as it does a task for that folder; fail if none ever did."""
        killed = threading.Event()
        thread = threading.Thread(target=self._kill_one, args=(folder, killed))
        thread.start()
        yield
        thread.join()
        assert killed.is_set()

    def _kill_one(self, folder: Path, killed: threading.Event) -> None:
        for _ in range(600):
            for works, pid in self.client.run(_busy, folder, on_error="ignore").values():
                if works:
                    os.kill(pid, signal.SIGKILL)
                    killed.set()
                    return
            time.sleep(0.02)

    @staticmethod
    def _kill(process: subprocess.Popen[Any]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
        process.wait()

    def _start(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[Any]:
        paths = [environment.get("PYTHONPATH", ""), str(ROOT / "src"), str(ROOT / "tests")]
        everything = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        everything |= {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "10s"}
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=everything, start_new_session=True
            )
        self._processes.append(process)
        return process


def _busy(folder: Path) -> tuple[bool, int]:
    return client._is_busy_with(folder), os.getpid()


def note_and_sleep(path: Path, seconds: float) -> str:
    """A task that leaves a note when it begins and when it is done."""
    with path.open("a") as file:
        file.write("begun\n")
    time.sleep(seconds)
    with path.open("a") as file:
        file.write("done\n")
    return path.name


def die(path: Path) -> None:
    """A task that kills its worker."""
    path.touch()
    os.kill(os.getpid(), signal.SIGKILL)


def write(path: Path, nbytes: int) -> None:
    """A task that fills a disk: no file of its process may grow beyond a MiB."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        from marketplace.common.files import replacing

        with replacing(path, shared=True) as part:
            part.write_bytes(bytes(nbytes))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
