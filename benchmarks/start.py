"""The processor time that commands take before they can answer, and stages before they begin.

    python benchmarks/start.py [--runs 5] [--json OUT]

Asks this repository's own pipeline, which must have run. CPU seconds are those of all threads; the median of --runs,
after one that fills the system's file cache. A stage's start is its imports, as its script has them.
"""

import ast
import os
import resource
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from statistics import median

import pandas as pd
from workspace import ROOT, parser, report, serving, table

from marketplace.raw.shards import read_shard, shard_paths

COMMAND = "from marketplace.cli import main; main()"


def main() -> None:
    """Parse the command line, run, print."""
    command = parser(__doc__, params=False)
    command.add_argument("--runs", type=int, default=5, help="(default: 5)")
    options = command.parse_args()
    product_id = pd.read_parquet(ROOT / "data/clean/training_data.parquet")["product_id"].iloc[0]
    photo = ROOT / "logs/start.jpg"
    photo.parent.mkdir(exist_ok=True)
    photo.write_bytes(next(content for _, content in read_shard(shard_paths(ROOT / "data/raw/images")[0])))
    questions = {
        "`marketplace --help`": python(COMMAND, "--help"),
        "`marketplace similar PRODUCT_ID`": python(COMMAND, "similar", product_id),
        "`marketplace similar PHOTO`": python(COMMAND, "similar", str(photo)),
        "`marketplace similar --words TEXT`": python(COMMAND, "similar", "--words", "red chair"),
        "`dvc repro`, nothing to do": ["dvc", "repro", "--quiet"],
        **{f"start of `stages/{path.name}`": python(imports_of(path)) for path in sorted(ROOT.glob("stages/*.py"))},
    }
    seconds = {name: measured(question, options.runs) for name, question in questions.items()}
    photo.unlink()
    rows = [[name, f"{cpu:.2f} s", f"{wall:.2f} s"] for name, (cpu, wall) in seconds.items()]
    page, words = (median(times) for times in zip(*(served() for _ in range(options.runs)), strict=True))
    rows.append(["`marketplace serve`, until it shows products", "", f"{page:.2f} s"])
    rows.append(["`marketplace serve`, until it answers a search", "", f"{words:.2f} s"])
    report({"seconds": seconds, "serve": [page, words]}, table(["", "CPU", "wall clock"], rows), options.json)


def python(code: str, *arguments: str) -> list[str]:
    """A command that runs code in a new Python."""
    return [sys.executable, "-c", code, *arguments]


def imports_of(script: Path) -> str:
    """The imports of a stage's script, those in its functions too."""
    tree = ast.parse(script.read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n".join(ast.unparse(node) for node in found)


def measured(command: list[str], runs: int) -> tuple[float, float]:
    """The median CPU and wall-clock seconds of a command."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    times = []
    for _ in range(runs + 1):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        times.append((cpu, time.perf_counter() - started))
    cpus, walls = zip(*times[1:], strict=True)
    return median(cpus), median(walls)


def served() -> tuple[float, float]:
    """The seconds until `marketplace serve` shows products, and until it answers a search that came at once."""
    started = time.perf_counter()
    with serving() as (url, server):
        while True:
            try:
                urllib.request.urlopen(f"{url}/api/products").read()
                break
            except urllib.error.URLError:
                if server.poll() is not None:
                    raise SystemExit("marketplace serve ended: run it to see why") from None
                time.sleep(0.01)
        page = time.perf_counter() - started
        urllib.request.urlopen(f"{url}/api/products?words=chair").read()
        return page, time.perf_counter() - started


if __name__ == "__main__":
    main()
