"""The table of experiments, from a repository that has some."""

import json

from helpers.project import Project

from marketplace.review.experiments import Experiment, best_first, experiments, experiments_table
from marketplace.review.revisions import WORKSPACE, Revision
from marketplace.review.verdicts import Policy, Rule, read_policy

POLICY: Policy = {
    "error": Rule(better="lower", tolerance=0, blocks=True),
    "recall": Rule(better="higher", tolerance=0, blocks=False),
}


def experiment(name: str, **metrics: float) -> Experiment:
    return Experiment(name=name, metrics=metrics, params={"train.lr": 0.1}, state="" if metrics else "Queued")


def test_less_is_better_where_the_policy_says_so() -> None:
    rows = [
        experiment("queued"),
        experiment("worst", error=0.3, recall=0.9),
        experiment("best", error=0.1, recall=0.6),
        experiment("second", error=0.1, recall=0.5),
    ]
    assert [row.name for row in best_first(rows, POLICY)] == ["best", "second", "worst", "queued"]
    _, error, recall = experiments_table(rows, POLICY).columns
    assert list(error.cells) == ["–", "0.300", "[bold]0.100[/bold]", "[bold]0.100[/bold]"]
    assert list(recall.cells) == ["–", "[bold]0.900[/bold]", "0.600", "0.500"]


def test_the_table_says_what_the_files_of_each_experiment_say(experimented: Project) -> None:
    policy = read_policy(Revision.of(experimented.folder, WORKSPACE))
    rows = {row.name: row for row in experiments(experimented.folder, 3, policy)}
    for name in ("main", "rate"):
        revision = experimented.experiment("rate") if name == "rate" else "main"
        summary = json.loads(experimented.run("git", "show", f"{revision}:metrics/summary.json"))
        assert rows[name].metrics == {metric: summary[metric] for metric in policy}
    assert rows["rate"].params["train.lr"] == 1e-5
    assert {1.5, 2.5} <= {row.params["recommend.price_factor"] for row in rows.values()}
    ordered = [row.metrics[next(iter(policy))] for row in experiments(experimented.folder, 1, policy)[2:]]
    assert ordered == sorted(ordered, reverse=True)
    assert len(ordered) >= 3  # another rate, and two price factors


def test_the_columns_stay_after_a_commit(experimented: Project) -> None:
    before = experimented.marketplace("experiments")
    first, *lines = before.splitlines()
    assert "train.lr" in first
    assert "recommend.price factor" in first
    assert "fetch" not in first  # the same everywhere
    assert [line.split()[0] for line in lines[:2]] == ["workspace", "main"]
    project = experimented.clone(experimented.folder.parent / "without-experiments")
    (project.folder / "README.md").write_text("changed")
    project.run("git", "commit", "-qam", "another")
    listed = project.marketplace("experiments", "-n", "2")
    assert "recommended category precision" in listed.splitlines()[0]
    assert len(listed.splitlines()) == 4
