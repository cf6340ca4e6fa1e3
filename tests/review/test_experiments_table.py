"""The table of `marketplace experiments`."""

import csv
import io
import json
import math
import re
from dataclasses import replace

import pytest
from helpers.project import Project

from marketplace.review.experiments import (
    Experiment,
    export_experiments,
    list_experiments,
    print_experiments,
    sort_experiments,
)
from marketplace.review.revisions import WORKSPACE, Revision
from marketplace.review.verdicts import Policy, Rule, read_policy

POLICY: Policy = {
    "error": Rule(better="lower", tolerance=0, blocks=True),
    "recall": Rule(better="higher", tolerance=0, blocks=False),
}


def make_experiment(name: str, *, lr: float = 0.1, **metrics: float) -> Experiment:
    return Experiment(name=name, metrics=metrics, params={"train.lr": lr}, state="" if metrics else "Queued")


def test_lower_is_better_where_the_policy_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiments = [
        make_experiment("queued"),
        make_experiment("worst", error=0.3, recall=0.9),
        make_experiment("best", error=0.1, recall=0.6),
        make_experiment("second", error=0.1, recall=0.5),
    ]
    assert [row.name for row in sort_experiments(experiments, POLICY)] == ["best", "second", "worst", "queued"]
    monkeypatch.setenv("FORCE_COLOR", "1")
    print_experiments(experiments, POLICY)
    _, error, recall, state = [bold(line).split() for line in capsys.readouterr().out.splitlines()]
    assert error == ["error", "–", "0.300", "*0.100*", "*0.100*"]
    assert recall == ["recall", "–", "*0.900*", "0.600", "0.500"]
    assert state == ["state", "queued", "–", "–", "–"]


def bold(line: str) -> str:
    """Return a line of a terminal with stars around what is bold."""
    return re.sub(r"\x1b\[1m( *)(.*?)\x1b\[0m", r"\1*\2*", line)


def test_80_columns_show_whole_names_and_only_what_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "train.title_target_temperature"
    experiments = [
        Experiment(name=f"experiment-{n}", metrics={"recall": n / 9, "error": 0.1}, params={name: n, "k": 1}, state="")
        for n in range(7)
    ]
    twin = replace(experiments[0], name="twin")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    print_experiments([*experiments, twin], POLICY)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 80
    values = [line.removeprefix(name).split() for line in lines if line.startswith(name)]
    assert "".join(map("".join, values)) == "0123456"
    assert len(values) == 3  # blocks
    assert lines[0].split() == ["experiment-0"]
    assert lines[1].split() == ["twin", "experiment-1", "experiment-2"]  # the twin shares a column
    assert lines[-1] == "The same everywhere: error 0.100."
    assert not [line for line in lines if line.startswith("k ")]
    print_experiments([experiments[0], twin], POLICY)  # nothing to compare
    assert "error" in capsys.readouterr().out


def test_programs_get_every_value(capsys: pytest.CaptureFixture[str]) -> None:
    experiments = [make_experiment("a\x1b[2J,", recall=math.nan), make_experiment("queued", lr=1e-5)]
    export_experiments(experiments, "csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[1] == {"experiment": "queued", "state": "Queued", "recall": "", "train.lr": "1e-05"}
    assert rows[0]["experiment"] == "a\N{REPLACEMENT CHARACTER}[2J,"
    export_experiments(experiments, "json")
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert json.loads(output)[0] == {
        "name": "a\x1b[2J,",
        "metrics": {"recall": None},
        "params": {"train.lr": 0.1},
        "state": "",
    }


def test_names_and_values_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    odd = ["[/red]", "[bold]x[/bold]", "a\\[b]", ":smile:", "\x1b[2J"]
    experiments = [Experiment(name=text, metrics={"recall": 0.5}, params={"[/key]": text}, state="") for text in odd]
    print_experiments(experiments, POLICY)
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert "[/key]" in output
    assert output.splitlines()[0].split() == [*odd[:4], "\N{REPLACEMENT CHARACTER}[2J"]
    assert all(output.count(text) == 2 for text in odd[:4])  # the name, and the parameter that differs


def test_the_table_has_the_values_in_the_files_of_each_experiment(experimented: Project) -> None:
    policy = read_policy(Revision.of(experimented.folder, WORKSPACE))
    rows = {row.name: row for row in list_experiments(experimented.folder, 3, policy)}
    for name, revision in {"main": "main", "rate": experimented.experiment("rate")}.items():
        summary = json.loads(experimented.run("git", "show", f"{revision}:metrics/summary.json"))
        assert rows[name].metrics == {metric: summary[metric] for metric in policy if metric in summary}
    assert rows["rate"].params["train.lr"] == 1e-5
    assert {1.5, 2.5} <= {row.params["recommend.price_factor"] for row in rows.values()}

    _workspace, _main, *experiments = list_experiments(experimented.folder, 1, policy)
    first_metric = next(metric for metric in policy if metric in rows["main"].metrics)
    values = [row.metrics[first_metric] for row in experiments]
    assert values == sorted(values, reverse=True)
    assert len(values) >= 3  # another rate, and two price factors


def test_the_rows_stay_after_a_commit(experimented: Project) -> None:
    lines = experimented.marketplace("experiments").splitlines()
    rows = {line.split()[0] for line in lines}
    assert {"train.lr", "recommend.price_factor", "recommend.same_category"} <= rows
    assert not [name for name in rows if name.startswith("fetch.")]  # the same everywhere
    assert lines[0].split() == ["workspace"]
    assert lines[1].split()[0] == "main"  # in the same column

    project = experimented.clone(experimented.folder.parent / "without-experiments")
    (project.folder / "README.md").write_text("changed")
    project.run("git", "commit", "-qam", "another")
    output = project.marketplace("experiments", "-n", "2")
    assert "category agreement" in output
    exported = json.loads(project.marketplace("experiments", "-n", "2", "--json"))
    assert [row["name"] for row in exported[:2]] == ["workspace", "main"]
    assert len(exported) == 3
    assert exported[0]["params"]["recommend.k"] == 10
    assert exported[0]["params"]["recommend.price_factor"] is None
