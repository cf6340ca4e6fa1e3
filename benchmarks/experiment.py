"""The cost of an experiment with another learning rate, against the first run of both training stages.

    python benchmarks/experiment.py [-S KEY=VALUE …] [--json OUT]

A clone of this project is prepared up to the resized photos. Then train_small and train_full run three times: first,
with another rate, and with another rate after the frozen layers' stored features were deleted.
"""

import shutil
import subprocess
import time

from workspace import Workspace, parser, report, table, workspace

PREPARED = ["fetch", "clean", "resize_images", "pretrained"]


def main() -> None:
    """Parse the command line, run, print."""
    options = parser(__doc__).parse_args()
    with workspace(options.set) as space:
        for stage in PREPARED:
            space.run(stage)
        for command in (["add", "-A"], ["-c", "user.name=b", "-c", "user.email=b@b", "commit", "-qm", "prepared"]):
            subprocess.run(["git", *command], cwd=space.folder, check=True)
        seconds = {"the first run": dvc(space, "repro", "train_full")}
        seconds["`dvc exp run -S train.lr=9e-4`"] = dvc(
            space, "exp", "run", "--quiet", "-S", "train.lr=9e-4", "train_full"
        )
        shutil.rmtree(space.environment["MARKETPLACE_CACHE"])
        seconds["another one, nothing stored"] = dvc(
            space, "exp", "run", "--quiet", "-S", "train.lr=8e-4", "train_full"
        )
    first = seconds["the first run"]
    rows = [[name, f"{taken:.0f} s", f"{first / taken:.2f}"] for name, taken in seconds.items()]
    report({"seconds": seconds}, table(["train_small and train_full", "time", "first run / this"], rows), options.json)


def dvc(space: Workspace, *command: str) -> float:
    """Run dvc in the workspace; the seconds it took."""
    started = time.perf_counter()
    subprocess.run(["dvc", *command], cwd=space.folder, env=space.environment, check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
