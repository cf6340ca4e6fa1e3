"""What DVC's own commands do with experiments of this project, and what they show of them."""

import csv
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.paths import ROOT
from helpers.project import STAGES, Project, ran

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGE_PLOTS = {
    path: options
    for stage in PIPELINE["stages"].values()
    for plot in stage.get("plots", [])
    for path, options in plot.items()
}
PLOTS = [path for path, options in STAGE_PLOTS.items() if "template" in options]
IMAGES = [path for path in STAGE_PLOTS if path.endswith(".jpg")]


def shown(project: Project, *options: str) -> list[dict[str, str]]:
    """The rows of `dvc exp show`."""
    return list(csv.DictReader(io.StringIO(project.dvc("exp", "show", "--csv", *options))))


def deciding_metrics(project: Project) -> list[str]:
    """Return the metrics of the policy that the project has: no product of the sample is judged."""
    policy = yaml.safe_load((ROOT / "policy.yaml").read_text())
    summary = json.loads((project.folder / "metrics/summary.json").read_text())
    return [metric for metric in policy if metric in summary]


def test_every_way_to_run_an_experiment_leaves_a_row_with_its_parameters_and_metrics(experimented: Project) -> None:
    rows = shown(experimented)
    by_name = {row["Experiment"] or row["rev"]: row for row in rows}
    assert len(rows) == 2 + 4  # the working tree, main and the experiments
    assert by_name["several"]["recommend.k"] == "8"
    assert by_name["several"]["recommend.same_category"] == "True"
    sweep = [row["recommend.price_factor"] for name, row in by_name.items() if "-" in name]  # DVC named these itself
    assert sorted(sweep) == ["1.5", "2.5"]
    metrics = deciding_metrics(experimented)
    assert all(row[metric] for row in rows for metric in metrics)
    # Of eight within a root category more are of the same leaf than of ten anywhere.
    assert by_name["several"]["leaf_agreement"] > by_name["main"]["leaf_agreement"]


def test_a_rate_in_scientific_notation_stays_a_number(experimented: Project) -> None:
    revisions = json.loads(experimented.dvc("exp", "show", "--json"))
    experiments = [experiment["revs"][0] for revision in revisions for experiment in revision["experiments"] or []]
    (rate,) = (experiment for experiment in experiments if experiment["name"] == "rate")
    assert rate["data"]["params"]["params.yaml"]["data"]["train"]["lr"] == 1e-5
    difference = json.loads(experimented.dvc("params", "diff", "main", "rate", "--json"))
    assert list(difference["params.yaml"]) == ["train.lr"]
    assert (difference["params.yaml"]["train.lr"]["old"], difference["params.yaml"]["train.lr"]["new"]) == (1e-3, 1e-5)


def test_a_reader_sees_the_deciding_columns_first(experimented: Project) -> None:
    metrics = deciding_metrics(experimented)
    columns = [name for name in shown(experimented)[0] if name not in {"State", "Executor"}]  # of queued ones
    first = columns.index("parent") + 1
    assert columns[first : first + len(metrics)] == metrics
    assert "." in columns[first + len(metrics)]  # a parameter: there are no other metrics


def test_a_sweep_queues_one_experiment_for_each_value(experimented: Project) -> None:
    experimented.dvc("exp", "run", "--queue", "-S", "train.lr=1e-4,3e-4,1e-3")
    try:
        assert experimented.dvc("queue", "status").count("Queued") == 3
    finally:
        experimented.dvc("queue", "remove", "--queued")


def test_the_documented_clearing_keeps_what_experiments_need(experimented: Project, tmp_path: Path) -> None:
    (command,) = re.findall(r"^dvc (gc .*)$", (ROOT / "docs/PIPELINE.md").read_text(), re.MULTILINE)
    project = experimented.copy(tmp_path / "project")  # clearing also takes from the run cache
    scratch = project.folder / "scratch.txt"
    scratch.write_text("of no branch, tag or experiment")
    project.dvc("add", "-q", "scratch.txt")
    md5 = hashlib.md5(scratch.read_bytes(), usedforsecurity=False).hexdigest()
    kept = project.folder / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"
    assert kept.exists()
    for path in (scratch, project.folder / "scratch.txt.dvc"):
        path.unlink()
    project.dvc(*command.split())
    assert not kept.exists()
    project.dvc("exp", "apply", "rate")
    assert "up to date" in project.dvc("status")


def test_an_experiment_can_be_applied_branched_and_pushed(experimented: Project, tmp_path: Path) -> None:
    experimented.dvc("exp", "apply", "rate")
    try:
        assert yaml.safe_load((experimented.folder / "params.yaml").read_text())["train"]["lr"] in (1e-5, "1e-05")
        assert "up to date" in experimented.dvc("status")
    finally:
        experimented.restore()
    experimented.dvc("exp", "branch", "rate", "branched")
    assert "lr: 1e-05" in experimented.run("git", "show", "branched:params.yaml")

    experimented.run("git", "init", "-q", "--bare", str(tmp_path / "git"))
    experimented.run("git", "remote", "add", "origin", str(tmp_path / "git"))
    experimented.dvc("remote", "add", "--local", "--default", "storage", str(tmp_path / "dvc"))
    experimented.run("git", "push", "-q", "origin", "main")
    assert "Pushed experiment rate" in experimented.dvc("exp", "push", "origin", "rate")
    theirs = experimented.clone(tmp_path / "theirs")
    theirs.run("git", "remote", "set-url", "origin", str(tmp_path / "git"))
    theirs.dvc("remote", "add", "--local", "--default", "storage", str(tmp_path / "dvc"))
    theirs.dvc("exp", "pull", "origin", "rate")
    theirs.dvc("exp", "apply", "rate")
    assert (theirs.folder / "models/image_model.onnx").exists()


def test_noise_is_measured_by_training_with_other_seeds(experimented: Project) -> None:
    before = experimented.dvc("exp", "list")
    try:
        output = experimented.marketplace("noise", "--seeds", "2")
        noise = json.loads((experimented.folder / "metrics/noise.json").read_text())
    finally:
        experimented.restore()
    assert "Seed 2 of 2." in output
    assert ran(output) == [
        stage for stage in STAGES[4:] if stage != "data_report"
    ]  # for the second: with the first main was trained
    summary = json.loads((experimented.folder / "metrics/summary.json").read_text())
    assert {name: figures["values"][0] for name, figures in noise["metrics"].items()} == summary
    assert any(figures["spread"] > 0 for figures in noise["metrics"].values())
    assert noise["seeds"] == [1, 2]
    assert noise["training_data"] == experimented.out_hashes()["data/clean/training_data.parquet"]
    assert experimented.dvc("exp", "list") == before


def plots(project: Project, *command: str) -> dict[str, Any]:
    answer = json.loads(project.dvc("plots", *command, "--json"))
    assert not answer.get("errors")
    data: dict[str, Any] = answer["data"]
    return {name: renderings for name, renderings in data.items() if renderings}


def template_of(drawn: dict[str, Any]) -> dict[str, Any]:
    """The Vega-Lite specification, which DVC gives as an object or as its text."""
    content: dict[str, Any] = drawn["content"] if isinstance(drawn["content"], dict) else json.loads(drawn["content"])
    return content


def without_strips(drawn: dict[str, Any]) -> dict[str, Any]:
    """Leave out the photos that a review links to, one strip for each tracked product."""
    return {name: plot for name, plot in drawn.items() if not name.startswith("metrics/tracked_products/")}


def test_every_plot_is_drawn_once_and_for_both_sides_of_a_diff(experimented: Project) -> None:
    assert sorted(without_strips(plots(experimented, "show"))) == sorted(PLOTS + IMAGES)
    both = without_strips(plots(experimented, "diff", "main", "rate"))
    assert sorted(both) == sorted(PLOTS + IMAGES)
    for name in PLOTS:
        (drawn,) = both[name]
        assert set(drawn["revisions"]) == {"main", "rate"}
    for name in IMAGES:
        assert {rendering["revisions"][0] for rendering in both[name]} == {"main", "rate"}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_draws_fields_that_its_data_has(experimented: Project, name: str) -> None:
    (drawn,) = plots(experimented, "diff", "main", "rate")[name]
    content = template_of(drawn)
    assert "<DVC_METRIC" not in json.dumps(content)
    rows = content["data"]["values"]
    assert {row["rev"] for row in rows} == {"main", "rate"}
    made = set(re.findall(r"\w+", " ".join(re.findall(r'"as": (".*?"|\[.*?\])', json.dumps(content)))))
    fields = set(re.findall(r'"field": "((?:[^"\\]|\\.)+)"', json.dumps(content)))
    assert fields
    assert fields - made <= set(rows[0])


def test_editors_that_fill_the_templates_themselves_get_all_they_need(experimented: Project, tmp_path: Path) -> None:
    """VS Code asks for templates and data apart."""
    for name, renderings in plots(experimented, "diff", "main", "rate", "--split", "-o", str(tmp_path)).items():
        if name in PLOTS:
            (drawn,) = renderings
            content = json.dumps(template_of(drawn))
            assert "<DVC_METRIC_DATA>" in content
            assert set(re.findall(r"<DVC_METRIC_\w+>", content)) <= set(drawn["anchor_definitions"])


@pytest.mark.parametrize("size", ["small", "full"])
def test_a_plot_of_a_training_run_has_its_losses_and_accuracy(experimented: Project, size: str) -> None:
    path = f"metrics/train_{size}/epochs.json"
    (drawn,) = plots(experimented, "show")[path]
    rows = template_of(drawn)["data"]["values"]
    epochs = json.loads((experimented.folder / path).read_text())
    for figure in ("epoch", "train_loss", "val_loss", "val_accuracy"):
        assert [row[figure] for row in rows] == [epoch[figure] for epoch in epochs]


def test_metrics_are_the_summary_and_the_figures_of_a_real_marketplace(experimented: Project) -> None:
    rows = json.loads(experimented.dvc("metrics", "show", "--json"))[""]["data"]
    assert list(rows) == ["metrics/summary.json", "metrics/market.json"]
    summary = json.loads((experimented.folder / "metrics/summary.json").read_text())
    assert rows["metrics/summary.json"]["data"] == summary
    assert set(rows["metrics/market.json"]["data"]) == {"market"}


def test_tensorboard_keeps_experiments_apart(experimented: Project) -> None:
    """Also one that ran in a copy of the workspace, which is gone."""
    logs = experimented.folder / "logs"
    assert {path.name for path in logs.iterdir()} >= {"rate"}
    for size in ("small", "full"):
        assert list((logs / "rate" / f"train_{size}" / "val").iterdir())
