"""Measure the first run of the whole pipeline, and what experiments after it cost.

    python benchmarks/experiment.py [-S KEY=VALUE …] [--json OUT]

The first run is of a clone, with an empty cache. Then come an experiment with another learning rate, and one with
another number of recommendations. Seconds include DVC's own.
"""

import subprocess
import time
from typing import Any

from workspace import Workspace, make_parser, report, table, workspace

EXPERIMENTS = ("train.lr=9e-4", "recommend.k=8")


def main() -> None:
    """Parse the command line, measure, print the results."""
    options = make_parser(__doc__).parse_args()
    with workspace(options.set) as space:
        commit(space)
        seconds = {"`dvc repro`, nothing stored": time_dvc(space, "repro")}
        commit(space)
        for change in EXPERIMENTS:
            seconds[f"`dvc exp run -S {change}`"] = time_dvc(space, "exp", "run", "--quiet", "-S", change)
            restore(space)
    results = {"set": options.set, "seconds": seconds}
    report(results, format_experiment(results), options.json)


def commit(space: Workspace) -> None:
    """Commit the workspace, so that experiments start from it."""
    run_git(space, "add", "-A")
    run_git(space, "-c", "user.name=b", "-c", "user.email=b@b", "commit", "-qm", "prepared", "--allow-empty")


def restore(space: Workspace) -> None:
    """Take an experiment back."""
    run_git(space, "checkout", "-q", ".")
    space.dvc("checkout", "-q")


def run_git(space: Workspace, *arguments: str) -> None:
    """Run git in the workspace."""
    subprocess.run(["git", *arguments], cwd=space.folder, check=True)


def time_dvc(space: Workspace, *arguments: str) -> float:
    """Run dvc in the workspace; return the seconds it took."""
    started = time.perf_counter()
    space.dvc(*arguments)
    return time.perf_counter() - started


def format_experiment(results: dict[str, Any]) -> str:
    """Format the results as a table."""
    first = max(results["seconds"].values())
    rows = [[name, f"{seconds:.0f} s", f"{first / seconds:.1f}"] for name, seconds in results["seconds"].items()]
    return table(["", "time", "first run / this"], rows)


if __name__ == "__main__":
    main()
