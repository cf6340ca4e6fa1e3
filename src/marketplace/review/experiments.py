"""The table of experiments: the metrics that decide, and the parameters that differ."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from marketplace.common.console import printable, table_console
from marketplace.common.params import PARAMS, read_params
from marketplace.review.lock import flatten
from marketplace.review.terminal import print_columns, print_csv, print_json, short_name
from marketplace.review.verdicts import Policy

NONE = "–"  # no result, or null
WORDS = {"True": True, "False": False, "None": None}  # as DVC returns the values of YAML


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
            params={name: _restore(row.get(name)) for name in param_names},
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


def _restore(value: Any) -> Any:
    """Return a parameter as it is in params.yaml: DVC returns whole numbers as floats."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return WORDS.get(value, value) if isinstance(value, str) else value


def sort_experiments(experiments: Sequence[Experiment], policy: Policy) -> list[Experiment]:
    """Sort experiments by the policy's first metric, then by the next, the best first; a missing metric is worst."""

    def badness(experiment: Experiment) -> list[float]:
        metrics = experiment.metrics
        return [-policy[name].goodness(metrics[name]) if name in metrics else math.inf for name in policy]

    return sorted(experiments, key=badness)


def export_experiments(experiments: Sequence[Experiment], file_format: str) -> None:
    """Print all metrics and parameters of experiments as "json" or "csv", with a row for each experiment."""
    if file_format == "json":
        print_json([asdict(experiment) for experiment in experiments])
        return
    rows = [
        {"experiment": experiment.name, "state": experiment.state, **experiment.metrics, **experiment.params}
        for experiment in experiments
    ]
    print_csv(list(dict.fromkeys(["experiment", "state", *_metrics_of(experiments), *experiments[0].params])), rows)


def print_experiments(experiments: Sequence[Experiment], policy: Policy) -> None:
    """Print experiments side by side: the metrics, each with its best value in bold, and the parameters that differ.

    Experiments with the same results share a column, and metrics that are the same everywhere a sentence.
    """
    groups = _group_equal(experiments)
    first_of_each = [group[0] for group in groups]
    metrics = {short_name(name): _format_metric(name, first_of_each, policy) for name in _metrics_of(experiments)}
    if len(groups) > 1:
        same = {name: str(cells[0]) for name, cells in metrics.items() if len(set(map(str, cells))) == 1}
    else:
        same = {}
    print_columns(
        headings=["\n".join(row.name for row in group) for group in groups],
        rows={name: cells for name, cells in metrics.items() if name not in same} | _differing_params(first_of_each),
    )
    if same:
        texts = ", ".join(f"{name} {value}" for name, value in same.items())
        table_console().print(f"\nThe same everywhere: {texts}.")


def _metrics_of(experiments: Sequence[Experiment]) -> list[str]:
    return list(dict.fromkeys(name for row in experiments for name in row.metrics))


def _group_equal(experiments: Sequence[Experiment]) -> list[list[Experiment]]:
    """Return experiments in groups with the same state, metrics and parameters, in the order of the first of each."""
    groups: dict[str, list[Experiment]] = {}
    for row in experiments:
        groups.setdefault(str((row.state, row.metrics, row.params)), []).append(row)
    return list(groups.values())


def _format_metric(name: str, experiments: Sequence[Experiment], policy: Policy) -> list[Text]:
    values = [row.metrics.get(name) for row in experiments]
    best = max((value for value in values if value is not None), key=policy[name].goodness)
    return [
        Text(NONE) if value is None else Text(f"{value:.3f}", style="bold" if value == best else "") for value in values
    ]


def _differing_params(experiments: Sequence[Experiment]) -> dict[str, list[Text]]:
    """Return the texts of the state and of the parameters that differ, by name."""
    rows = {"state": [row.state.lower() or NONE for row in experiments]}
    for name in experiments[0].params:
        rows[printable(name)] = [_format_param(row.params[name]) for row in experiments]
    return {name: list(map(Text, texts)) for name, texts in rows.items() if len(set(texts)) > 1}


def _format_param(value: Any) -> str:
    if value is None:
        return NONE
    return str(value).lower() if isinstance(value, bool) else printable(str(value))
