"""The table of experiments: the metrics that decide, and the parameters that differ."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from marketplace.common.params import PARAMS, read_params
from marketplace.review.lock import flattened
from marketplace.review.verdicts import Policy

WIDTH_OF_A_PIPE = 1000  # nothing wraps


@dataclass(frozen=True)
class Experiment:
    """A commit, the working tree or an experiment."""

    name: str
    metrics: dict[str, float]
    params: dict[str, Any]
    state: str  # such as Queued or Failed; empty for what has results


def experiments(root: Path, n_commits: int, policy: Policy) -> list[Experiment]:
    """Return the working tree, then the newest commits, each followed by its experiments, the best first."""
    import dvc.api

    names = list(flattened(read_params(root / PARAMS)))
    rows = dvc.api.exp_show(str(root), num=n_commits)
    found = [
        Experiment(
            name=row["Experiment"] or row["rev"],
            metrics={name: row[name] for name in policy if isinstance(row.get(name), float)},
            params={name: row.get(name) for name in names},
            state="" if row["State"] in (None, "Success") else str(row["State"]),
        )
        for row in rows
    ]
    commits = [place for place, row in enumerate(rows) if row["Experiment"] is None]
    ordered = []
    for start, end in zip(commits, [*commits[1:], len(rows)], strict=True):
        ordered += [found[start], *best_first(found[start + 1 : end], policy)]
    return ordered


def best_first(rows: Sequence[Experiment], policy: Policy) -> list[Experiment]:
    """Sort experiments by the first metric of the policy, equal ones by the next; those without metrics come last."""

    def badness(row: Experiment) -> list[float]:
        return [-policy[name].goodness(row.metrics[name]) if name in row.metrics else math.inf for name in policy]

    return sorted(rows, key=badness)


def print_experiments(rows: Sequence[Experiment], policy: Policy) -> None:
    """Print the table of experiments, without wrapping its lines unless it is for a terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_OF_A_PIPE
    console.print(experiments_table(rows, policy))


def experiments_table(rows: Sequence[Experiment], policy: Policy) -> Table:
    """Return a table of the metrics, the best value of each in bold, and of the parameters that differ."""
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    differing = [name for name in rows[0].params if len({str(row.params[name]) for row in rows}) > 1]
    best = {
        name: max((row.metrics[name] for row in rows if name in row.metrics), key=policy[name].goodness)
        for name in metrics
    }
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for name in [*metrics, *differing]:
        table.add_column(name.replace("_", " "), justify="right", vertical="bottom")
    for row in rows:
        figures = [_figure(row.metrics.get(name), best[name]) for name in metrics]
        values = [str(row.params[name]) for name in differing]
        name = f"{row.name}, {row.state.lower()}" if row.state else row.name
        table.add_row(name, *figures, *values)
    return table


def _figure(value: float | None, best: float) -> str:
    if value is None:
        return "–"
    return f"[bold]{value:.3f}[/bold]" if value == best else f"{value:.3f}"
