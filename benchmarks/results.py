"""Run the committed pipeline from scratch in a clone, stage by stage, and print its times and figures as Markdown.

    python benchmarks/results.py                                                            the sample
    python benchmarks/results.py -S fetch.source=local -S fetch.local.path=../shared/listings    a dump of yours
    python benchmarks/results.py --json results.json                                        for machines

Nothing that was computed before is used, neither DVC's cache nor stored features; this workspace is left alone.
"""

import json
import time
from typing import Any

import yaml
from workspace import Workspace, parser, report, table, workspace

UNTOUCHED = {"untouched_projected": "the same network, whitened like ours", "untouched": "untouched"}


def main() -> None:
    """Parse the command line, run, print."""
    options = parser(__doc__).parse_args()
    with workspace(options.set) as space:
        results = {"set": options.set, "seconds": time_stages(space), "figures": figures(space)}
    report(results, markdown(results), options.json)


def time_stages(space: Workspace) -> dict[str, float]:
    """Run every stage once, in order; seconds of each, its start-up and DVC's bookkeeping included."""
    seconds = {}
    for stage in yaml.safe_load(space.path("dvc.yaml").read_text())["stages"]:
        started = time.perf_counter()
        space.run(stage)
        seconds[stage] = time.perf_counter() - started
    return seconds


def figures(space: Workspace) -> dict[str, Any]:
    """What the pipeline recorded."""
    names = ("clean", "train_small/metrics", "train_full/metrics", "evaluate", "summary")
    return {name.partition("/")[0]: json.loads(space.path(f"metrics/{name}.json").read_text()) for name in names}


def markdown(results: dict[str, Any]) -> str:
    """The results as two tables."""
    seconds, evaluated = results["seconds"], results["figures"]["evaluate"]
    times = [[stage, f"{value:.1f}"] for stage, value in seconds.items()]
    parts = [table(["stage", "seconds"], [*times, ["**all**", f"**{sum(seconds.values()):.0f}**"]])]
    others = [evaluated[name] for name in UNTOUCHED]
    rows = []
    for name, value in {**results["figures"]["summary"], **evaluated}.items():
        if name not in UNTOUCHED:
            compared = (f"{other[name]:.3f}" if name in other else "" for other in others)
            rows.append([name, f"{value:.3f}", *compared])
    parts.append(table(["on the test split", "fine-tuned", *UNTOUCHED.values()], rows))
    for training in ("train_small", "train_full"):
        best = results["figures"][training]["best"]
        parts.append(f"{training}: epoch {best['epoch']}, validation accuracy {best['val_accuracy']:.3f}")
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
