"""Time stages that need nothing from each other: one after another, and next to each other.

    python benchmarks/side_by_side.py [-S KEY=VALUE] [--json OUT]

Both ways are measured in turns, in one workspace. The seconds are DVC's and the stages' own, with everything that they
find again in the cache.
"""

import subprocess
import time
from statistics import median

from workspace import Workspace, make_parser, report, table, workspace

STAGES = ("data_report", "map", "evaluate")
COMMAND = ("dvc", "repro", "--quiet", "--force", "--single-item")
ROUNDS = 5


def main() -> None:
    """Parse the command line, measure, print the results."""
    options = make_parser(__doc__).parse_args()
    with workspace(options.set) as space:
        space.dvc("repro", "--quiet")
        rounds = [(time_alone(space), time_together(space)) for _ in range(ROUNDS)]
    alone = {stage: median(seconds[stage] for seconds, _ in rounds) for stage in STAGES}
    one_by_one = median(sum(seconds.values()) for seconds, _ in rounds)
    together = median(seconds for _, seconds in rounds)
    rows = [[f"`{stage}` alone", f"{seconds:.1f} s"] for stage, seconds in alone.items()]
    rows.append(["one after another", f"{one_by_one:.1f} s"])
    rows.append(["next to each other", f"{together:.1f} s ({one_by_one / together:.1f} times as fast)"])
    report(
        {"set": options.set, "alone": alone, "one_by_one": one_by_one, "together": together},
        table(["", f"median of {ROUNDS}"], rows),
        options.json,
    )


def time_alone(space: Workspace) -> dict[str, float]:
    """Return the seconds of each stage, one after another."""
    seconds = {}
    for stage in STAGES:
        begin = time.perf_counter()
        space.dvc(*COMMAND[1:], stage)
        seconds[stage] = time.perf_counter() - begin
    return seconds


def time_together(space: Workspace) -> float:
    """Return the seconds until all stages have run, started at once."""
    begin = time.perf_counter()
    runs = [subprocess.Popen([*COMMAND, stage], cwd=space.folder, env=space.environment) for stage in STAGES]
    statuses = [run.wait() for run in runs]
    if any(statuses):
        raise SystemExit("a stage failed")
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
