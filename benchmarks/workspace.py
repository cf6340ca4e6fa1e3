"""Shared by the benchmarks: a clone of this project to measure in, the machine's name, the common options."""

import argparse
import json
import os
import platform
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from figures import MARKET, refresh_pages

from marketplace.compute.processor import kind_of_processor
from marketplace.review.markdown import format_table

ROOT = Path(__file__).parents[1]
RUNNING = re.compile(r"Running stage '(\w+)'")


class Workspace:
    """A clone of the committed project, with its own parameters and caches."""

    def __init__(self, folder: Path, assignments: list[str]) -> None:
        self.folder = folder / "clone"
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "MARKETPLACE_CACHE": str(folder / "cache"),
        }
        subprocess.run(["git", "clone", "--quiet", ROOT, self.folder], check=True)
        set_params(self.folder / "params.yaml", assignments)

    def run(self, *stages: str) -> None:
        """Run some stages, one after another, whether anything changed or not."""
        for stage in stages:
            self.dvc("repro", "--quiet", "--force", "--single-item", stage)

    def dvc(self, *arguments: str) -> None:
        """Run dvc."""
        subprocess.run(["dvc", *arguments], cwd=self.folder, env=self.environment, check=True)

    def time_repro(self, *arguments: str) -> dict[str, float]:
        """Run `dvc repro`; return the seconds of each stage that it ran, with DVC's own."""
        environment = {**self.environment, "PYTHONUNBUFFERED": "1"}
        command = ["dvc", "repro", *arguments]
        starts = {}
        process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                match = RUNNING.search(line)
                if match:
                    starts[match[1]] = time.perf_counter()
        if process.wait():
            raise SystemExit("dvc repro failed")
        ends = [*starts.values(), time.perf_counter()][1:]
        return {stage: end - start for (stage, start), end in zip(starts.items(), ends, strict=True)}

    def path(self, name: str) -> Path:
        """Return the path of a file of the clone."""
        return self.folder / name


@contextmanager
def workspace(assignments: list[str]) -> Iterator[Workspace]:
    """Yield a workspace, and delete it afterwards; this process's own caches are in it, too."""
    with tempfile.TemporaryDirectory() as folder:
        space = Workspace(Path(folder), assignments)
        os.environ["MARKETPLACE_CACHE"] = space.environment["MARKETPLACE_CACHE"]
        yield space


@contextmanager
def start_server(root: Path = ROOT) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Start `marketplace serve` over the pipeline in `root`; yield its address and process without waiting."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("marketplace")
    server = subprocess.Popen(
        [program, "serve", "--port", str(port)], cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.terminate()
        server.wait()


def wait_for_answers(url: str, server: "subprocess.Popen[bytes]") -> None:
    """Wait until a server that was just started answers questions of every kind."""
    while True:
        try:
            urllib.request.urlopen(f"{url}/ready").read()
            return
        except urllib.error.URLError:
            if server.poll() is not None:
                raise SystemExit("marketplace serve ended: run it to see why") from None
            time.sleep(0.1)


def set_params(path: Path, assignments: list[str]) -> None:
    """Apply `section.key=value` assignments to params.yaml; a dump's folder is relative to the working directory."""
    params = yaml.safe_load(path.read_text())
    for assignment in assignments:
        key, _, text = assignment.partition("=")
        *sections, last = key.split(".")
        section = params
        for name in sections:
            section = section[name]
        value = yaml.safe_load(text)
        section[last] = str(Path(value).absolute()) if key == "fetch.local.path" else value
    path.write_text(yaml.safe_dump(params))


def make_parser(description: str | None, *, params: bool = True) -> argparse.ArgumentParser:
    """Make a command line with the options that benchmarks share: --json, and -S unless `params` is false."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if params:
        parser.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="set a parameter")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the results to OUT")
    return parser


def report(results: dict[str, Any], markdown: str, out: Path | None) -> None:
    """Print the machine and a table, and write the results to `out` if it is given.

    Results in metrics/market are also written into the pages that show them.
    """
    print(f"Machine: {machine()}\n\n{markdown}")
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(
            json.dumps({"machine": machine(), "commit": commit(), **results, "table": markdown}, indent=2) + "\n"
        )
        if out.resolve().parent == MARKET:
            refresh_pages()


def table(columns: list[str], rows: list[list[str]]) -> str:
    """Format a Markdown table; all columns but the first are numbers."""
    return format_table([columns[0], *(f"{column}:" for column in columns[1:])], rows)


def best_seconds(work: Callable[[], object], runs: int) -> float:
    """Return the fewest seconds of several runs."""
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def peak_gib() -> float:
    """Return the most memory that this process has held so far, mapped files included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def commit() -> str:
    """Return the commit of this repository, which `Workspace` clones."""
    return subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def machine() -> str:
    """Describe the machine in a few words, with the instructions that matter most for the speed of arithmetic."""
    cpus = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = cpus[0].partition(":")[2].strip()
    instructions = kind_of_processor().split()[-1]
    return f"{os.cpu_count()} cores ({name}, {instructions}), {platform.system()}, Python {platform.python_version()}"
