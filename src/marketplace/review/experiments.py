"""The table of experiments: the metrics that decide, and the parameters that differ."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from marketplace.common.console import table_console
from marketplace.common.params import PARAMS, read_params
from marketplace.review.lock import flatten
from marketplace.review.verdicts import Policy


@dataclass(frozen=True)
class Experiment:
    """A commit, the working tree or an experiment."""

    name: str
    metrics: dict[str, float]
    params: dict[str, Any]
    state: str  # such as Queued or Failed; empty if there are results


def list_experiments(root: Path, n_commits: int, policy: Policy) -> list[Experiment]:
    """Return the working tree, then the newest commits, each followed by its experiments, the best first."""
    import dvc.api

    param_names = list(flatten(read_params(root / PARAMS)))
    rows = dvc.api.exp_show(str(root), num=n_commits)
    experiments = [
        Experiment(
            name=row["Experiment"] or row["rev"],
            metrics={name: row[name] for name in policy if isinstance(row.get(name), float)},
            params={name: row.get(name) for name in param_names},
            state="" if row["State"] in (None, "Success") else str(row["State"]),
        )
        for row in rows
    ]
    commits = [place for place, row in enumerate(rows) if row["Experiment"] is None]
    ordered = []
    for start, end in zip(commits, [*commits[1:], len(rows)], strict=True):
        ordered.append(experiments[start])
        ordered += sort_experiments(experiments[start + 1 : end], policy)
    return ordered


def sort_experiments(experiments: Sequence[Experiment], policy: Policy) -> list[Experiment]:
    """Sort experiments by the policy's first metric, then by the next, the best first; a missing metric is worst."""

    def badness(experiment: Experiment) -> list[float]:
        metrics = experiment.metrics
        return [-policy[name].goodness(metrics[name]) if name in metrics else math.inf for name in policy]

    return sorted(experiments, key=badness)


def print_experiments(experiments: Sequence[Experiment], policy: Policy) -> None:
    """Print the table of experiments; lines wrap only in a terminal."""
    table_console(markup=True).print(make_table(experiments, policy))


def make_table(experiments: Sequence[Experiment], policy: Policy) -> Table:
    """Return a table of the metrics, each with its best value in bold, and of the parameters that differ."""
    metrics = list(dict.fromkeys(name for row in experiments for name in row.metrics))
    params = experiments[0].params
    differing_params = [name for name in params if len({str(row.params[name]) for row in experiments}) > 1]
    best = {
        name: max((row.metrics[name] for row in experiments if name in row.metrics), key=policy[name].goodness)
        for name in metrics
    }
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for name in [*metrics, *differing_params]:
        table.add_column(escape(name.replace("_", " ")), justify="right", vertical="bottom")
    for row in experiments:
        label = f"{row.name}, {row.state.lower()}" if row.state else row.name
        figures = [_format_figure(row.metrics.get(name), best[name]) for name in metrics]
        values = [escape(str(row.params[name])) for name in differing_params]
        table.add_row(escape(label), *figures, *values)
    return table


def _format_figure(value: float | None, best: float) -> str:
    if value is None:
        return "–"
    return f"[bold]{value:.3f}[/bold]" if value == best else f"{value:.3f}"
