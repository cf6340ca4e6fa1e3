"""Compare the cost of an experiment with another learning rate to the first run of both training stages.

    python benchmarks/experiment.py [-S KEY=VALUE …] [--json OUT]

A clone of this project is prepared up to the resized photos. Then train_small and train_full run three times: first,
with another rate, and with another rate after deleting the stored features of the frozen layers.
"""

import shutil
import subprocess
import time

from workspace import Workspace, make_parser, report, table, workspace


def main() -> None:
    """Parse the command line, measure, print the results."""
    options = make_parser(__doc__).parse_args()
    with workspace(options.set) as space:
        space.run("fetch", "clean", "resize_images", "pretrained")
        commit(space)
        seconds = {"the first run": time_dvc(space, "repro", "train_full")}
        seconds["`dvc exp run -S train.lr=9e-4`"] = time_experiment(space, lr="9e-4")
        shutil.rmtree(space.environment["MARKETPLACE_CACHE"])
        seconds["another one, nothing stored"] = time_experiment(space, lr="8e-4")
    first = seconds["the first run"]
    rows = [[name, f"{value:.0f} s", f"{first / value:.2f}"] for name, value in seconds.items()]
    report({"seconds": seconds}, table(["train_small and train_full", "time", "first run / this"], rows), options.json)


def commit(space: Workspace) -> None:
    """Commit the prepared workspace, so that experiments start from it."""
    subprocess.run(["git", "add", "-A"], cwd=space.folder, check=True)
    author = ["-c", "user.name=b", "-c", "user.email=b@b"]
    subprocess.run(["git", *author, "commit", "-qm", "prepared"], cwd=space.folder, check=True)


def time_experiment(space: Workspace, lr: str) -> float:
    """Train with another learning rate; return the seconds it took."""
    return time_dvc(space, "exp", "run", "--quiet", "-S", f"train.lr={lr}", "train_full")


def time_dvc(space: Workspace, *arguments: str) -> float:
    """Run dvc in the workspace; return the seconds it took."""
    started = time.perf_counter()
    subprocess.run(["dvc", *arguments], cwd=space.folder, env=space.environment, check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
