"""`marketplace review` on real branches, with and without data."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from helpers.project import Project

from marketplace.review.comparison import review
from marketplace.review.markdown import escaped, markdown
from marketplace.review.verdicts import Outcome


@pytest.fixture
def clone(experimented: Project, tmp_path: Path) -> Project:
    """A clone without data, with the experiment of another rate checked out as the branch `slower`."""
    experimented.run("git", "branch", "-f", "slower", experimented.experiment("rate"))
    theirs = experimented.clone(tmp_path / "clone")
    theirs.run("git", "checkout", "-q", "slower")
    return theirs


def change(project: Project, path: str, edit: Callable[[str], str]) -> None:
    """Edit a file of the clone's branch and commit."""
    file = project.folder / path
    file.write_text(edit(file.read_text()))
    project.run("git", "commit", "-qam", "edit")


def rows(page: str, title: str) -> list[list[str]]:
    """The cells of the table that follows a heading, or that starts the page."""
    lines = re.split(r"\n#|</?details>", page.partition(title)[2])[0].splitlines()
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if line.startswith("|")]
    return cells[2:]


def test_a_review_tells_what_the_files_say(experimented: Project) -> None:
    """With data: a branch of the experiment, in the repository that made it."""
    page = experimented.marketplace("review", "main", "rate", code=None)
    base, head = (
        {
            path: json.loads(experimented.run("git", "show", f"{revision}:metrics/{path}.json"))
            for path in ("summary", "tracked_products", "evaluate/per_category")
        }
        for revision in ("main", experimented.experiment("rate"))
    )
    policy = yaml.safe_load((experimented.folder / "policy.yaml").read_text())
    metrics = rows(page, "**Verdict")
    assert [row[0] for row in metrics] == [f"`{name}`" for name in policy]
    for name, row in zip(policy, metrics, strict=True):
        before, after = base["summary"][name], head["summary"][name]
        assert row[1:4] == [f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}"]
        band, verdict = float(row[4].removeprefix("±")), row[5]
        if abs(after - before) > band + 1e-4:
            assert ("better" if after > before else "worse") in verdict
        elif abs(after - before) < band - 1e-4:
            assert "noise" in verdict or "unchanged" in verdict

    assert rows(page, "### Parameters") == [["`train.lr`", "`0.001`", "`1e-05`"]]
    stages = {row[0].strip("`"): row[2] for row in rows(page, "<b>Stages")}
    assert list(stages) == ["train_small", "train_full", "extract", "evaluate", "recommend", "map"]
    assert stages["train_small"] == "params `train.lr`"
    assert "data" in stages["extract"]
    assert "params" not in stages["extract"]

    recall = {row["category"]: row["recall"] for row in base["evaluate/per_category"]}
    for row in rows(page, "<b>Categories"):
        name = re.sub(r"\\(.)", r"\1", row[0])
        now = next(one["recall"] for one in head["evaluate/per_category"] if one["category"] == name)
        assert row[1:4] == [f"{recall[name]:.3f}", f"{now:.3f}", f"{now - recall[name]:+.3f}"]

    before = {entry["product_id"]: entry["similar"] for entry in base["tracked_products"]}
    stayed = [len(set(before[entry["product_id"]]) & set(entry["similar"])) / 10 for entry in head["tracked_products"]]
    assert f"Of the tracked 50 products, **{sum(stayed) / 50:.1%}** of their recommendations stayed the same" in page
    moved = rows(page, "<b>Recommendations")
    assert [row[3] for row in moved] == [f"{share:.0%}" for share in sorted(stayed)[: len(moved)]]
    assert "Of all 65 products" in page
    assert "Cleaning kept and left out the same" in page


def test_a_clone_without_data_gets_the_same_review_and_is_told_what_is_missing(
    experimented: Project, clone: Project
) -> None:
    whole = experimented.marketplace("review", "main", "slower", code=None)
    page = clone.marketplace("review", "origin/main", "HEAD", code=None)
    assert rows(page, "**Verdict") == rows(whole, "**Verdict")
    assert rows(page, "<b>Recommendations") == rows(whole, "<b>Drift")
    assert "Not computed: the recommendations of all products" in page
    assert "dvc fetch recommend" in page
    assert "Not computed" not in whole
    assert clone.marketplace("review", "origin/main", code=None).partition("\n")[2] == page.partition("\n")[2]


def test_the_working_tree_is_compared_with_a_commit(experimented: Project) -> None:
    page = experimented.marketplace("review", "main")
    assert page.startswith("## Review of `workspace` against `main")
    assert "**Verdict: unchanged.**" in page
    assert "No parameter changed." in page


Edit = Callable[[str], str]


def of_metric(name: str, new: str) -> Edit:
    """Give a metric another value, or none."""
    return lambda text: re.sub(rf'"{name}": [\d.]+,', f'"{name}": {new},' if new else "", text)


def nothing(text: str) -> str:
    return "{}" if text.startswith("{") else "[]"


@pytest.mark.parametrize(
    ("path", "edit", "said"),
    [
        (
            "metrics/summary.json",
            of_metric("recommended_category_precision", "0.001"),
            "recommended_category_precision got worse by",
        ),
        ("metrics/summary.json", of_metric("macro_f1", "NaN"), "macro_f1 is not a number"),
        ("metrics/summary.json", of_metric("accuracy", ""), "accuracy is missing"),
        ("metrics/summary.json", nothing, "has no metrics: `metrics/summary.json` is missing or empty"),
        ("metrics/evaluate/per_category.json", nothing, "has no `metrics/evaluate/per_category.json`, or an empty one"),
        ("metrics/tracked_products.json", nothing, "has no `metrics/tracked_products.json`, or an empty one"),
        (
            "src/marketplace/training/losses.py",
            lambda text: text + "\n",
            "train_full: code src/marketplace/training is",
        ),
        ("params.yaml", lambda text: text.replace("k: 10", "k: 7"), "recommend: parameter recommend.k is modified"),
    ],
)
def test_what_must_not_be_merged_blocks(clone: Project, path: str, edit: Edit, said: str) -> None:
    clone.run("git", "checkout", "-q", "-b", "change", "origin/main")
    change(clone, path, edit)
    page = clone.marketplace("review", "origin/main", "HEAD", code=1)
    assert "**Verdict: blocked.**" in page
    assert re.search(rf"^- ⛔ .*{re.escape(said)}", page, re.MULTILINE)
    assert "Traceback" not in page


def test_a_missing_file_of_metrics_blocks_and_one_that_is_new_does_not(clone: Project) -> None:
    clone.run("git", "checkout", "-q", "-b", "change", "origin/main")
    clone.run("git", "rm", "-q", "metrics/summary.json", "metrics/tracked_products.json")
    clone.run("git", "commit", "-qm", "without")
    page = clone.marketplace("review", "origin/main", "HEAD", code=1)
    assert "HEAD" in page
    assert "`metrics/summary.json` is missing or empty" in page
    clone.run("git", "checkout", "-q", "-b", "back")
    clone.run("git", "checkout", "-q", "origin/main", "--", "metrics/tracked_products.json")
    clone.run("git", "commit", "-qm", "with tracked products")
    page = clone.marketplace("review", "change", "back", code=1)  # still without metrics
    assert "Not computed: the recommendations of the tracked products" in page


def test_a_change_cannot_loosen_what_it_is_judged_by(clone: Project) -> None:
    clone.run("git", "checkout", "-q", "-b", "change", "origin/main")
    change(clone, "policy.yaml", lambda text: text.replace("blocks: true", "blocks: false"))
    change(clone, "metrics/noise.json", lambda text: re.sub(r'"spread": [\d.]+', '"spread": 9.0', text))
    change(clone, "metrics/summary.json", of_metric("recommended_category_precision", "0.001"))
    page = clone.marketplace("review", "origin/main", "HEAD", code=1)
    assert "recommended_category_precision got worse" in page
    assert "`policy.yaml` differs: this review used the base's." in page
    assert "`metrics/noise.json` differs: this review used the base's." in page


def test_noise_of_other_data_and_no_noise_are_told(clone: Project) -> None:
    page = clone.marketplace("review", "origin/main", "HEAD", code=None)
    assert "measured with other training data" in page  # the tests' sample is smaller than the project's own
    clone.run("git", "checkout", "-q", "-b", "quiet", "origin/main")
    clone.run("git", "rm", "-q", "metrics/noise.json")
    clone.run("git", "commit", "-qm", "no noise")
    assert "only the tolerances count as noise" in clone.marketplace("review", "HEAD", "HEAD")


def test_data_that_changed_are_counted(clone: Project) -> None:
    clone.run("git", "checkout", "-q", "-b", "change", "origin/main")
    counts = json.loads((clone.folder / "metrics/clean.json").read_text())
    kept = counts["images"]["kept"]
    change(clone, "metrics/clean.json", lambda text: text.replace(f'"kept": {kept}', f'"kept": {kept - 3}'))
    page = clone.marketplace("review", "origin/main", "HEAD", code=1)  # dvc.lock does not match
    assert ["`images.kept`", f"`{kept}`", f"`{kept - 3}`", "-3"] in rows(page, "<b>Data")


@pytest.mark.parametrize(
    ("path", "edit", "said"),
    [
        (
            "metrics/clean.json",
            lambda text: re.sub(r'"test_photos_sha256": "\w{4}', '"test_photos_sha256": "0000', text),
            "they were measured on other test photos",
        ),
        (
            "metrics/evaluate/per_category.json",
            lambda text: re.sub(r'"category": "[^"]+"', '"category": "Something new"', text, count=1),
            "they have other categories",
        ),
    ],
)
def test_figures_of_other_photos_are_not_judged(clone: Project, path: str, edit: Edit, said: str) -> None:
    change(clone, path, edit)  # on the branch of an experiment whose metrics are far worse
    result = review(clone.folder, "origin/main", "HEAD")
    assert result.incomparable == said
    assert {verdict.outcome for verdict in result.verdicts} == {Outcome.INCOMPARABLE}
    assert not any("worse" in reason for reason in result.blocking)
    result.problems.clear()  # dvc.lock does not match such an edit
    assert f"**Verdict: the two cannot be compared**, as {said}." in markdown(result)


def test_results_of_another_machine_are_the_same_within_rounding(clone: Project) -> None:
    clone.run("git", "checkout", "-q", "-b", "elsewhere", "origin/main")
    assert clone.marketplace("drift") == ""
    lock = yaml.safe_load((clone.folder / "dvc.lock").read_text())
    trained = {out["path"]: out["md5"] for out in lock["stages"]["train_small"]["outs"]}["models/small.pt"]
    file = clone.folder / "dvc.lock"
    file.write_text(file.read_text().replace(trained, "f" * 32))  # where it was written, and where it was read
    summary = clone.folder / "metrics/summary.json"
    accuracy = json.loads(summary.read_text())["accuracy"]
    summary.write_text(summary.read_text().replace(f'"accuracy": {accuracy}', f'"accuracy": {accuracy + 0.0001}'))
    said = clone.marketplace("drift")
    assert "this machine rounds otherwise than the one of the commit" in said
    assert f"accuracy {accuracy + 0.0001:.4f} instead of {accuracy:.4f} (all within the seed's noise)" in said
    assert "git commit -am" in said
    result = review(clone.folder, "HEAD", "workspace")
    result.problems.clear()  # the edited metrics are not those that dvc.lock names
    assert "**Verdict: the same within rounding.** Code, parameters and data are the same" in markdown(result)
    clone.run("git", "commit", "-qam", "baseline")
    assert clone.marketplace("drift") == ""
    change(clone, "params.yaml", lambda text: text.replace("k: 10", "k: 7"))
    assert clone.marketplace("drift") == ""


@pytest.mark.parametrize("name", ["nowhere", "--help-me", "main; rm -rf ."])
def test_an_unknown_revision_is_a_sentence(clone: Project, name: str) -> None:
    output = clone.marketplace("review", "--", name, "HEAD", code=1)
    assert "is not a commit, branch, tag or experiment here" in output
    assert "Traceback" not in output


def test_a_broken_file_is_named(clone: Project) -> None:
    change(clone, "metrics/summary.json", lambda _: "{")
    assert "ERROR: metrics/summary.json of HEAD is not JSON" in clone.marketplace(
        "review", "origin/main", "HEAD", code=1
    )


def test_names_of_products_are_only_text() -> None:
    name = "a|b\n<img src=x> [x](http://y) `c` @team #12 ![p](q) **bold**"
    shown = escaped(name)
    assert "\n" not in shown
    assert not re.search(r"(?<!\\)[|<\[\]`*!]", shown)
    assert "@team" not in shown
    assert "#12" not in shown
    assert re.sub(r"\\(.)", r"\1", shown).replace("\N{ZERO WIDTH SPACE}", "") == name.replace("\n", " ")


def test_the_summary_is_what_the_policy_and_the_noise_are_about(experimented: Project) -> None:
    folder = experimented.folder
    names = [
        list(json.loads((folder / "metrics/summary.json").read_text())),
        list(yaml.safe_load((folder / "policy.yaml").read_text())),
        list(json.loads((folder / "metrics/noise.json").read_text())["metrics"]),
    ]
    assert names[0] == names[1] == names[2]
    evaluation = json.loads((folder / "metrics/evaluate.json").read_text())
    summary = json.loads((folder / "metrics/summary.json").read_text())
    assert all(summary[name] == evaluation[name] for name in names[0] if name in evaluation)
    recommended = pd.read_parquet(folder / "data/recommendations.parquet")
    for probe in json.loads((folder / "metrics/tracked_products.json").read_text()):
        rows_of = recommended[recommended["product_id"] == probe["product_id"]].sort_values("rank")
        assert rows_of["similar_product_id"].tolist() == probe["similar"]
