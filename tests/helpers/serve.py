"""`marketplace serve` over a project."""

import contextlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from helpers.project import Project
from helpers.requirements import hide_packages_beyond
from helpers.servers import free_port


class Server(NamedTuple):
    """A running `marketplace serve`."""

    port: int
    log: Path  # stdout and stderr
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def serve(project: Project, log: Path, *options: str, host: str = "127.0.0.1") -> Iterator[Server]:
    """Run `marketplace serve` over a project, and wait until it answers at the address `host`."""
    port = free_port()
    # A machine that only serves has no PyTorch.
    code = f"{hide_packages_beyond('requirements-serve.lock')}\nfrom marketplace.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", "--port", str(port), *options]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=project.folder, env=project.environment(), stdout=output, stderr=subprocess.STDOUT
        )
    server = Server(port, log, process)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://{host}:{port}").close()
                break
            except urllib.error.URLError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait()
