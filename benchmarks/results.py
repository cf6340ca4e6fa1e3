"""Run the committed pipeline from scratch in a clone, stage by stage, and print its times and metrics as Markdown.

    python benchmarks/results.py                                                            the sample
    python benchmarks/results.py -S fetch.source=local -S fetch.local.path=../shared/listings    a dump of yours
    python benchmarks/results.py --judgements FILE --searches FILE     with the judgements of people about that dump
    python benchmarks/results.py --json metrics/market/results.json    also into that file, README and docs/RESULTS.md

Earlier results are not reused, neither from DVC's cache nor stored features, and this workspace is not touched.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml
from figures import MARKET, NETWORKS, format_interval
from workspace import Workspace, make_parser, report, table, workspace

from marketplace.relevance.judgements import JUDGEMENTS, SEARCHES

METRICS = ("good_at_6", "ndcg_at_8")


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__)
    parser.add_argument("--judgements", type=Path, metavar="FILE", help="judged pairs of products")
    parser.add_argument("--searches", type=Path, metavar="FILE", help="judged results of searches")
    options = parser.parse_args()
    is_shown = options.json is not None and options.json.resolve().parent == MARKET
    if is_shown and not (options.judgements and options.searches):
        parser.error("README and docs show judged figures: results in metrics/market need --judgements and --searches")
    with workspace(options.set) as space:
        for source, name in ((options.judgements, JUDGEMENTS), (options.searches, SEARCHES)):
            if source is not None:
                shutil.copyfile(source, space.path(name))
        seed = yaml.safe_load(space.path("params.yaml").read_text())["train"]["seed"]
        results = {
            "set": options.set,
            "seed": seed,
            "seconds": space.time_repro("--force"),
            "figures": read_metrics(space),
        }
    report(results, format_results(results), options.json)


def read_metrics(space: Workspace) -> dict[str, Any]:
    """Read the metrics that the pipeline recorded, by stage; single judged questions are left out."""
    names = ("clean", "train_small/metrics", "train_full/metrics", "evaluate", "judged", "summary")
    metrics = {name.partition("/")[0]: json.loads(space.path(f"metrics/{name}.json").read_text()) for name in names}
    metrics["judged"].pop("questions", None)
    metrics["intervals"] = {}
    for stage in ("evaluate", "recommend"):
        metrics["intervals"] |= json.loads(space.path(f"metrics/{stage}/intervals.json").read_text())
    metrics["groups"] = json.loads(space.path("metrics/recommend/groups.json").read_text())
    return metrics


def format_results(results: dict[str, Any]) -> str:
    """Format the times and the metrics as two tables, and name the chosen epochs."""
    seconds = results["seconds"]
    times = [[stage, f"{value:.1f}"] for stage, value in seconds.items()]
    times.append(["**all**", f"**{sum(seconds.values()):.0f}**"])
    parts = [table(["stage", "seconds"], times)]

    evaluation = results["figures"]["evaluate"]
    rows = []
    for name, value in {**results["figures"]["summary"], **evaluation}.items():
        if name not in NETWORKS:
            untouched = [evaluation[network].get(name) for network in NETWORKS]
            rows.append([name, f"{value:.3f}", *("" if other is None else f"{other:.3f}" for other in untouched)])
    parts.append(table(["on the test split", "fine-tuned", *NETWORKS.values()], rows))

    judged = results["figures"]["judged"]
    rows = [
        [kind, split, str(figures["questions"]), *(format_interval(figures[name]) for name in METRICS)]
        for kind, splits in judged.items()
        for split, figures in splits.items()
    ]
    if rows:
        parts.append(table(["question", "split", "questions", "good@6", "nDCG@8"], rows))

    for training in ("train_small", "train_full"):
        best = results["figures"][training]["best"]
        parts.append(f"{training}: epoch {best['epoch']}, validation accuracy {best['val_accuracy']:.3f}")
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
