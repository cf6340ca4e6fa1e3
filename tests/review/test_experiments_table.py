"""The table of `marketplace experiments`."""

import json

import pytest
from helpers.project import Project

from marketplace.review.experiments import Experiment, list_experiments, make_table, print_experiments, sort_experiments
from marketplace.review.revisions import WORKSPACE, Revision
from marketplace.review.verdicts import Policy, Rule, read_policy

POLICY: Policy = {
    "error": Rule(better="lower", tolerance=0, blocks=True),
    "recall": Rule(better="higher", tolerance=0, blocks=False),
}


def make_experiment(name: str, **metrics: float) -> Experiment:
    return Experiment(name=name, metrics=metrics, params={"train.lr": 0.1}, state="" if metrics else "Queued")


def test_lower_is_better_where_the_policy_says_so() -> None:
    experiments = [
        make_experiment("queued"),
        make_experiment("worst", error=0.3, recall=0.9),
        make_experiment("best", error=0.1, recall=0.6),
        make_experiment("second", error=0.1, recall=0.5),
    ]
    assert [row.name for row in sort_experiments(experiments, POLICY)] == ["best", "second", "worst", "queued"]
    _, error, recall = make_table(experiments, POLICY).columns
    assert list(error.cells) == ["–", "0.300", "[bold]0.100[/bold]", "[bold]0.100[/bold]"]
    assert list(recall.cells) == ["–", "[bold]0.900[/bold]", "0.600", "0.500"]


def test_names_and_values_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    odd = ["[/red]", "[bold]x[/bold]", "a\\[b]", ":smile:", "\x1b[2J"]
    experiments = [Experiment(name=text, metrics={"recall": 0.5}, params={"[/key]": text}, state="") for text in odd]
    print_experiments(experiments, POLICY)
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert "[/key]" in output
    assert [line.split()[0] for line in output.splitlines()[1:]] == [*odd[:4], "\N{REPLACEMENT CHARACTER}[2J"]
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


def test_the_columns_stay_after_a_commit(experimented: Project) -> None:
    heading, *lines = experimented.marketplace("experiments").splitlines()
    assert "train.lr" in heading
    assert "recommend.price factor" in heading
    assert "fetch" not in heading  # the same everywhere
    assert [line.split()[0] for line in lines[:2]] == ["workspace", "main"]

    project = experimented.clone(experimented.folder.parent / "without-experiments")
    (project.folder / "README.md").write_text("changed")
    project.run("git", "commit", "-qam", "another")
    heading, *lines = project.marketplace("experiments", "-n", "2").splitlines()
    assert "category agreement" in heading
    assert len(lines) == 3
