"""The processor time that commands take before they can answer, and stages before they begin.

    python benchmarks/start.py [--runs 5] [--json OUT]

Uses this repository's own pipeline, which must have run. CPU seconds are summed over all threads. The median of --runs
counts, after one run that fills the system's file cache. A stage's start is the imports of its script.
"""

import ast
import os
import resource
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
from workspace import ROOT, make_parser, report, start_server, table

from marketplace.raw.shards import read_shard, shard_paths

COMMAND = "from marketplace.cli import main; main()"


@dataclass(frozen=True)
class CommandTime:
    """The seconds that a command takes."""

    cpu: float
    wall: float


@dataclass(frozen=True)
class ServerTime:
    """The seconds from the start of `marketplace serve`."""

    products: float  # until it shows products
    search: float  # until it answers a search sent right afterwards


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__, params=False)
    parser.add_argument("--runs", type=int, default=5, help="the median of these counts (default: 5)")
    options = parser.parse_args()
    product_id = pd.read_parquet(ROOT / "data/clean/training_data.parquet")["product_id"].iloc[0]
    photo = ROOT / "logs/start.jpg"
    photo.parent.mkdir(exist_ok=True)
    photo.write_bytes(next(content for _, content in read_shard(shard_paths(ROOT / "data/raw/images")[0])))
    commands = {
        "`marketplace --help`": python_command(COMMAND, "--help"),
        "`marketplace similar PRODUCT_ID`": python_command(COMMAND, "similar", product_id),
        "`marketplace similar PHOTO`": python_command(COMMAND, "similar", str(photo)),
        "`marketplace similar --words TEXT`": python_command(COMMAND, "similar", "--words", "red chair"),
        "`dvc repro`, nothing to do": ["dvc", "repro", "--quiet"],
    }
    for script in sorted(ROOT.glob("stages/*.py")):
        commands[f"start of `stages/{script.name}`"] = python_command(imports_of(script))
    times = {name: time_command(command, options.runs) for name, command in commands.items()}
    photo.unlink()
    server_times = [time_server() for _ in range(options.runs)]
    results = {
        "seconds": {name: asdict(seconds) for name, seconds in times.items()},
        "serve": {
            "it shows products": median(server_time.products for server_time in server_times),
            "it answers a search": median(server_time.search for server_time in server_times),
        },
    }
    report(results, format_start(results), options.json)


def python_command(code: str, *arguments: str) -> list[str]:
    """Return a command that runs code in a new Python."""
    return [sys.executable, "-c", code, *arguments]


def imports_of(script: Path) -> str:
    """Return the imports of a stage's script, including those in its functions."""
    tree = ast.parse(script.read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n".join(ast.unparse(node) for node in imports)


def time_command(command: list[str], runs: int) -> CommandTime:
    """Return the median seconds of a command."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    cpu = []
    wall = []
    for _ in range(runs + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
        wall.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return CommandTime(cpu=median(cpu[1:]), wall=median(wall[1:]))


def time_server() -> ServerTime:
    """Start `marketplace serve`, and measure when it answers."""
    started = time.perf_counter()
    with start_server() as (url, server):
        while True:
            try:
                urllib.request.urlopen(f"{url}/api/products").read()
                break
            except urllib.error.URLError:
                if server.poll() is not None:
                    raise SystemExit("marketplace serve ended: run it to see why") from None
                time.sleep(0.01)
        products = time.perf_counter() - started
        urllib.request.urlopen(f"{url}/api/products?words=chair").read()
        return ServerTime(products=products, search=time.perf_counter() - started)


def format_start(results: dict[str, Any]) -> str:
    """Format the results as a table."""
    rows = [[name, *(f"{row[clock]:.2f} s" for clock in ("cpu", "wall"))] for name, row in results["seconds"].items()]
    rows += [[f"`marketplace serve`, until {event}", "", f"{value:.1f} s"] for event, value in results["serve"].items()]
    return table(["", "CPU", "wall clock"], rows)


if __name__ == "__main__":
    main()
