"""The table of experiments, from a repository that has some."""

import json

import yaml
from helpers.project import Project

from marketplace.review.experiments import experiments


def test_the_table_says_what_the_files_of_each_experiment_say(experimented: Project) -> None:
    rows = {row.name: row for row in experiments(experimented.folder, 3)}
    policy = list(yaml.safe_load((experimented.folder / "policy.yaml").read_text()))
    for name in ("main", "rate"):
        revision = experimented.experiment("rate") if name == "rate" else "main"
        summary = json.loads(experimented.run("git", "show", f"{revision}:metrics/summary.json"))
        assert rows[name].metrics == {metric: summary[metric] for metric in policy}
    assert rows["rate"].params["train.lr"] == 1e-5
    assert {1.5, 2.5} <= {row.params["recommend.price_factor"] for row in rows.values()}
    ordered = [row.metrics[policy[0]] for row in experiments(experimented.folder, 1)[2:]]
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
