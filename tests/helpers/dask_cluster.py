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

from helpers import warm_python
from helpers.paths import ROOT
from helpers.servers import free_port, wait_for_port
from marketplace.cluster.tasks import works_in

logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # it logs pages when it loses a scheduler
PROGRAM = ["-m", "dask"]


class DaskCluster:
    """A scheduler; `add_workers` starts workers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[Any]] = []
        port = free_port()
        self.address = f"tcp://127.0.0.1:{port}"
        command = [sys.executable, *PROGRAM, "scheduler", "--host", "127.0.0.1", "--port", str(port)]
        self._scheduler = self._start(command, {})
        wait_for_port(port, self._scheduler, self.log)
        self.client = Client(self.address)

    @property
    def log(self) -> Path:
        """The output of the scheduler and the workers."""
        return self._folder / "cluster.log"

    def add_workers(
        self, count: int = 1, *, threads: int = 1, environment: dict[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> None:
        """Start workers, and wait until they are there. If one is killed, Dask starts another."""
        n_workers = len(self._workers())
        command = [sys.executable, *self._worker_command(), "--nworkers", str(count), "--nthreads", str(threads)]
        self._start([*prefix, *command], environment or {})
        self.client.wait_for_workers(n_workers + count, timeout=60)

    def add_warm_workers(self, count: int, *, environment: dict[str, str] | None = None) -> None:
        """Start workers that have imported the large libraries, and wait until they are there."""
        n_workers = len(self._workers())
        python = f"{warm_python.start()}/python"
        for _ in range(count):
            self._start([python, *self._worker_command(), "--no-nanny", "--nthreads", "1"], environment or {})
        self.client.wait_for_workers(n_workers + count, timeout=60)

    def _worker_command(self) -> list[str]:
        return [*PROGRAM, "worker", self.address, "--local-directory", str(self._folder)]

    @contextmanager
    def temporary_worker(self, **options: Any) -> Iterator[None]:
        """Have a worker in the block only; `options` are as for `add_workers`."""
        self.add_workers(**options)
        yield
        self._kill(self._processes.pop())
        while self._workers():
            time.sleep(0.1)

    def _workers(self) -> dict[str, Any]:
        return self.client.scheduler_info(n_workers=-1)["workers"]

    def stop(self) -> None:
        """End everything, at once."""
        self.client.close()
        for process in self._processes:
            self._kill(process)

    def kill_scheduler(self) -> None:
        """Kill the scheduler alone."""
        self._scheduler.kill()
        self._scheduler.wait()

    @contextmanager
    def silence_and_kill_scheduler(self) -> Iterator[None]:
        """Stop the scheduler from answering, and kill it after a second."""
        self._scheduler.send_signal(signal.SIGSTOP)
        timer = threading.Timer(1, self.kill_scheduler)
        timer.start()
        yield
        timer.join()

    @contextmanager
    def kill_a_busy_worker(self, folder: Path) -> Iterator[threading.Event]:
        """Kill a worker as soon as it runs a task for that folder, and set the event; fail if none ever did."""
        killed = threading.Event()
        thread = threading.Thread(target=self._kill_when_busy, args=(folder, killed))
        thread.start()
        yield killed
        thread.join()
        assert killed.is_set()

    def _kill_when_busy(self, folder: Path, killed: threading.Event) -> None:
        for _ in range(600):
            for is_busy, process_id in self.client.run(_state_of_worker, folder, on_error="ignore").values():
                if is_busy:
                    os.kill(process_id, signal.SIGKILL)
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
        whole_environment = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        whole_environment["DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL"] = "10s"
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=whole_environment, start_new_session=True
            )
        self._processes.append(process)
        return process


def _state_of_worker(folder: Path) -> tuple[bool, int]:
    return works_in(folder), os.getpid()


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
