"""What an experiment with another learning rate costs next to the first run: `dvc repro`, then `dvc exp run`.

    python benchmarks/experiment.py [-S fetch.source=local -S fetch.local.path=../shared/listings] [--lr 0.001]

Both in a clone, with nothing stored before the first. The last row runs the experiment without stored features
(train.feature_cache_gib: 0), as if the frozen layers had to run for every image of every epoch.
"""

import subprocess
import time

from workspace import Workspace, parser, report, table, workspace


def main() -> None:
    """Parse the command line, run, print."""
    command = parser(__doc__)
    command.add_argument("--lr", default="0.001", help="of the experiment (default: 0.001)")
    options = command.parse_args()
    with workspace(options.set) as space:
        seconds = {
            "dvc repro, the first": timed(space, "dvc", "repro", "--quiet"),
            f"dvc exp run -S train.lr={options.lr}": experiment(space, f"train.lr={options.lr}"),
            "the same, without stored features": without_features(space, options.lr),
        }
    first = next(iter(seconds.values()))
    rows = [[f"`{name}`" if name.startswith("dvc exp") else name, f"{value:.0f}", f"{first / value:.2f}"]
            for name, value in seconds.items()]  # fmt: skip
    report(
        {"set": options.set, "seconds": seconds}, table(["", "seconds", "times cheaper than the first"], rows),
        options.json,
    )  # fmt: skip


def experiment(space: Workspace, *assignments: str) -> float:
    """Seconds of `dvc exp run` with parameters changed."""
    return timed(space, "dvc", "exp", "run", "--quiet", *(word for text in assignments for word in ("-S", text)))


def without_features(space: Workspace, lr: str) -> float:
    """The same with a rate that is a little different, so that no run is known, and nothing stored."""
    for stored in (space.folder.parent / "cache").rglob("*.npy"):
        stored.unlink()
    return experiment(space, f"train.lr={float(lr) * 1.01:g}", "train.feature_cache_gib=0")


def timed(space: Workspace, *command: str) -> float:
    """Seconds of a command in the clone."""
    started = time.perf_counter()
    subprocess.run(command, cwd=space.folder, env=space.environment, check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
