"""`marketplace review` on real branches, with and without data."""

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from helpers.markdown import rendered
from helpers.project import Project
from helpers.repositories import commit_all, small_pipeline

from marketplace.common.console import CONTROL_CHARACTERS, printable
from marketplace.review.comparison import review_change
from marketplace.review.escaping import code, escape
from marketplace.review.markdown import format_review
from marketplace.review.verdicts import Outcome

Edit = Callable[[str], str]


@pytest.fixture
def clone(experimented: Project, tmp_path: Path) -> Project:
    """A clone without data, in which `slower` is checked out: the experiment with another learning rate."""
    experimented.run("git", "branch", "-f", "slower", experimented.experiment("rate"))
    clone = experimented.clone(tmp_path / "clone")
    clone.run("git", "checkout", "-q", "slower")
    return clone


def start_branch(project: Project, name: str) -> None:
    """Check out a new branch of `main`."""
    project.run("git", "checkout", "-q", "-b", name, "origin/main")


def commit_edit(project: Project, path: str, edit: Edit) -> None:
    file = project.folder / path
    file.write_text(edit(file.read_text()))
    project.run("git", "commit", "-qam", "edit")


def table_rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the table that follows a heading."""
    lines = re.split(r"\n#|</?details>", page.partition(heading)[2])[0].splitlines()
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if line.startswith("|")]
    return cells[2:]


def read_metrics(project: Project, revision: str) -> dict[str, Any]:
    """Return the files of metrics of a revision by name."""
    names = ("summary", "tracked_products", "evaluate/per_category")
    return {name: json.loads(project.run("git", "show", f"{revision}:metrics/{name}.json")) for name in names}


def test_a_review_has_the_values_in_the_files(experimented: Project) -> None:
    """With data: a branch of the experiment, in the repository that made it."""
    page = experimented.marketplace("review", "main", "rate", code=None)
    base = read_metrics(experimented, "main")
    head = read_metrics(experimented, experimented.experiment("rate"))
    policy = yaml.safe_load((experimented.folder / "policy.yaml").read_text())
    metrics = table_rows(page, "**Verdict")
    names = [name for name in policy if name in base["summary"]]
    assert [row[0] for row in metrics] == [f"`{name}`" for name in names]
    for name, row in zip(names, metrics, strict=True):
        before = base["summary"][name]
        after = head["summary"][name]
        assert row[1:4] == [f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}"]
        band = float(row[4].removeprefix("±"))
        verdict = row[5]
        if abs(after - before) > band + 1e-4:
            assert ("better" if after > before else "worse") in verdict
        elif abs(after - before) < band - 1e-4:
            assert "noise" in verdict or "unchanged" in verdict

    assert table_rows(page, "### Parameters") == [["`train.lr`", "`0.001`", "`1e-05`"]]
    stages = {row[0].strip("`"): row[2] for row in table_rows(page, "<b>Stages")}
    assert list(stages) == ["train_small", "train_full", "fit", "extract", "evaluate", "recommend", "map"]
    assert stages["train_small"] == "params `train.lr`"
    assert "data" in stages["extract"]
    assert "params" not in stages["extract"]

    recall_before = {row["category"]: row["recall"] for row in base["evaluate/per_category"]}
    recall_after = {row["category"]: row["recall"] for row in head["evaluate/per_category"]}
    for row in table_rows(page, "<b>Categories"):
        name = re.sub(r"\\(.)", r"\1", row[0])
        before = recall_before[name]
        after = recall_after[name]
        assert row[1:4] == [f"{before:.3f}", f"{after:.3f}", f"{after - before:+.3f}"]

    similar = {product_id: set(entry["similar"]) for product_id, entry in base["tracked_products"].items()}
    shares = [
        len(similar[product_id] & set(entry["similar"])) / 10 for product_id, entry in head["tracked_products"].items()
    ]
    share = f"{sum(shares) / 50:.1%}"
    assert f"**{share}** of the recommendations of the 50 tracked products stayed the same" in page
    changed_most = table_rows(page, "<b>Recommendations")
    assert [row[3] for row in changed_most] == [f"{share:.0%}" for share in sorted(shares)[: len(changed_most)]]
    assert "of the recommendations of all 65 products" in page
    assert "Cleaning kept and rejected the same data" in page


def test_a_clone_without_data_gets_the_same_review_with_a_note(experimented: Project, clone: Project) -> None:
    whole_page = experimented.marketplace("review", "main", "slower", code=None)
    page = clone.marketplace("review", "origin/main", "HEAD", code=None)
    assert table_rows(page, "**Verdict") == table_rows(whole_page, "**Verdict")
    assert table_rows(page, "<b>Recommendations") == table_rows(whole_page, "<b>Recommendations")
    assert "Not computed: the recommendations of all products" in page
    assert "dvc fetch recommend" in page
    assert "Not computed" not in whole_page
    workspace_page = clone.marketplace("review", "origin/main", code=None)
    assert workspace_page.partition("\n")[2] == page.partition("\n")[2]


def test_the_working_tree_is_compared_with_a_commit(experimented: Project) -> None:
    page = experimented.marketplace("review", "main")
    assert page.startswith("## Review of `workspace` against `main")
    assert "**Verdict: unchanged.**" in page
    assert "No parameter changed." in page


def set_metric(name: str, value: str) -> Edit:
    return lambda text: re.sub(rf'"{name}": [\d.]+', f'"{name}": {value}', text)


def remove_metric(name: str) -> Edit:
    return lambda text: re.sub(rf'"{name}": [\d.]+,', "", text)


def make_empty(text: str) -> str:
    return "{}" if text.startswith("{") else "[]"


@pytest.mark.parametrize(
    ("path", "edit", "reason"),
    [
        (
            "metrics/summary.json",
            set_metric("category_agreement", "0.001"),
            "category_agreement got worse by",
        ),
        ("metrics/summary.json", set_metric("macro_f1", "NaN"), "macro_f1 is not a number"),
        ("metrics/summary.json", remove_metric("accuracy"), "accuracy is missing"),
        ("metrics/summary.json", make_empty, "has no metrics: `metrics/summary.json` is missing or empty"),
        (
            "metrics/evaluate/per_category.json",
            make_empty,
            "has no `metrics/evaluate/per_category.json`, or it is empty or in another form",
        ),
        (
            "metrics/tracked_products.json",
            make_empty,
            "has no `metrics/tracked_products.json`, or it is empty or in another form",
        ),
        (
            "src/marketplace/training/losses.py",
            lambda text: text + "\n",
            "train_full: code src/marketplace/training is",
        ),
        ("params.yaml", lambda text: text.replace("k: 10", "k: 7"), "recommend: parameter recommend.k is modified"),
    ],
)
def test_a_change_that_must_not_be_merged_is_blocked(clone: Project, path: str, edit: Edit, reason: str) -> None:
    start_branch(clone, "change")
    commit_edit(clone, path, edit)
    page = clone.marketplace("review", "origin/main", "HEAD", code=1)
    assert "**Verdict: blocked.**" in page
    assert re.search(rf"^- ⛔ .*{re.escape(reason)}", page, re.MULTILINE)
    assert "Traceback" not in page


def test_a_missing_file_of_metrics_blocks_but_a_new_one_does_not(clone: Project) -> None:
    start_branch(clone, "change")
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


METRICS = {
    "policy.yaml": "recall: {better: higher, tolerance: 0.01, blocks: true}",
    "metrics/summary.json": '{"recall": 0.5}',
    "metrics/clean.json": '{"images": {"kept": 9}}',
    "metrics/evaluate/per_category.json": '[{"category": "Bags", "recall": 0.5, "images": 9}]',
    "metrics/tracked_products.json": '{"a": {"name": "b", "category": "c", "similar": []}}',
}


def write_metrics(root: Path, **changes: str | None) -> None:
    """Write METRICS with some changes, by the stem of the file; None: without that file."""
    for name, content in METRICS.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        changed = changes.get(path.stem, content)
        if changed is not None:
            path.write_text(changed)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("summary", None),
        ("summary", '{"recall": NaN}'),
        ("summary", '{"accuracy": 1}'),
        ("per_category", "[]"),
        ("per_category", '{"Bags": 0.5}'),
        ("per_category", '[{"category": "Bags"}]'),
        ("clean", "[]"),
        ("tracked_products", "{}"),
        ("tracked_products", '[{"product_id": "a", "similar": []}]'),
        ("tracked_products", '{"a": ["b"]}'),
        ("policy", None),
    ],
)
def test_a_review_blocks_only_what_the_base_has(tmp_path: Path, name: str, content: str | None) -> None:
    root = small_pipeline(tmp_path)
    write_metrics(root, **{name: content})
    lacking = commit_all(root)
    assert review_change(root, lacking, lacking).blockers == []
    write_metrics(root)
    whole = commit_all(root)
    assert review_change(root, lacking, whole).blockers == []
    assert review_change(root, whole, whole).blockers == []
    assert len(review_change(root, whole, lacking).blockers) == (name != "policy")  # the base's holds


def test_without_a_policy_nothing_is_judged(tmp_path: Path) -> None:
    root = small_pipeline(tmp_path)
    write_metrics(root, policy=None)
    commit_all(root)
    write_metrics(root, policy=None, summary='{"recall": 0.1}')
    review = review_change(root, "HEAD", commit_all(root))
    page = format_review(review)
    assert "**Verdict: not comparable**, because there is no `policy.yaml`" in page
    assert "worse" not in page.replace("better and worse", "")


def test_a_change_cannot_loosen_its_own_limits(clone: Project) -> None:
    start_branch(clone, "change")
    commit_edit(clone, "policy.yaml", lambda text: text.replace("blocks: true", "blocks: false"))
    commit_edit(clone, "metrics/noise.json", lambda text: re.sub(r'"spread": [\d.]+', '"spread": 9.0', text))
    commit_edit(clone, "metrics/summary.json", set_metric("category_agreement", "0.001"))
    page = clone.marketplace("review", "origin/main", "HEAD", code=1)
    assert "category_agreement got worse" in page
    assert "`policy.yaml` differs: this review used the base's." in page
    assert "`metrics/noise.json` differs: this review used the base's." in page


def test_missing_noise_and_noise_of_other_data_are_noted(clone: Project) -> None:
    page = clone.marketplace("review", "origin/main", "HEAD", code=None)
    assert "measured with other training data" in page  # the tests' sample is smaller than the project's own
    start_branch(clone, "quiet")
    clone.run("git", "rm", "-q", "metrics/noise.json")
    clone.run("git", "commit", "-qm", "no noise")
    assert "only the tolerances count as noise" in clone.marketplace("review", "HEAD", "HEAD")


def test_changed_data_is_counted(clone: Project) -> None:
    start_branch(clone, "change")
    counts = json.loads((clone.folder / "metrics/clean.json").read_text())
    kept = counts["images"]["kept"]
    commit_edit(clone, "metrics/clean.json", lambda text: text.replace(f'"kept": {kept}', f'"kept": {kept - 3}'))
    page = clone.marketplace("review", "origin/main", "HEAD", code=1)  # dvc.lock does not match
    assert ["`images.kept`", f"`{kept}`", f"`{kept - 3}`", "-3"] in table_rows(page, "<b>Data")


@pytest.mark.parametrize(
    ("path", "edit", "reason"),
    [
        (
            "metrics/clean.json",
            lambda text: re.sub(r'"test_photos_sha256": "\w{4}', '"test_photos_sha256": "0000', text),
            "they were measured on different test photos",
        ),
        (
            "metrics/evaluate/per_category.json",
            lambda text: re.sub(r'"category": "[^"]+"', '"category": "Something new"', text, count=1),
            "their categories differ",
        ),
    ],
)
def test_metrics_of_other_photos_are_not_judged(clone: Project, path: str, edit: Edit, reason: str) -> None:
    commit_edit(clone, path, edit)  # on the branch of an experiment whose metrics are far worse
    review = review_change(clone.folder, "origin/main", "HEAD")
    assert review.incomparable == reason
    assert {verdict.outcome for verdict in review.verdicts} == {Outcome.INCOMPARABLE}
    assert not any("worse" in blocker for blocker in review.blockers)
    review.problems.clear()  # dvc.lock does not match such an edit
    assert f"**Verdict: not comparable**, because {reason}." in format_review(review)


def test_results_of_another_machine_are_the_same_within_rounding(clone: Project) -> None:
    start_branch(clone, "elsewhere")
    assert clone.marketplace("drift") == ""
    file = clone.folder / "dvc.lock"
    lock = yaml.safe_load(file.read_text())
    small_model = {out["path"]: out["md5"] for out in lock["stages"]["train_small"]["outs"]}["models/small.pt"]
    file.write_text(file.read_text().replace(small_model, "f" * 32))  # of the stage that wrote it and of its readers
    summary = clone.folder / "metrics/summary.json"
    accuracy = json.loads(summary.read_text())["accuracy"]
    summary.write_text(summary.read_text().replace(f'"accuracy": {accuracy}', f'"accuracy": {accuracy + 0.0001}'))
    output = clone.marketplace("drift")
    assert "this machine rounds differently from the commit's" in output
    (line,) = [line.split() for line in output.splitlines() if line.startswith("accuracy ")]
    assert line[1:4] == [f"{accuracy:.4f}", f"{accuracy + 0.0001:.4f}", "+0.0001"]
    assert line[5:] == ["within", "noise"]
    (row,) = json.loads(clone.marketplace("drift", "--json"))
    assert (row["metric"], row["committed"], row["verdict"]) == ("accuracy", accuracy, "within noise")
    assert "git commit -am" in output

    review = review_change(clone.folder, "HEAD", "workspace")
    review.problems.clear()  # the hash of the edited metrics is not in dvc.lock
    page = format_review(review)
    assert "**Verdict: the same within rounding.** Code, parameters and data are the same" in page
    clone.run("git", "commit", "-qam", "baseline")
    assert clone.marketplace("drift", "--csv") == "metric,committed,here,noise,verdict\n"
    commit_edit(clone, "params.yaml", lambda text: text.replace("k: 10", "k: 7"))
    assert clone.marketplace("drift") == ""


@pytest.mark.parametrize("name", ["nowhere", "--help-me", "main; rm -rf ."])
def test_an_unknown_revision_is_refused_in_a_sentence(clone: Project, name: str) -> None:
    output = clone.marketplace("review", "--", name, "HEAD", code=1)
    assert "is not a commit, branch, tag or experiment here" in output
    assert "Traceback" not in output


def test_a_broken_file_is_named(clone: Project) -> None:
    commit_edit(clone, "metrics/summary.json", lambda _: "{")
    output = clone.marketplace("review", "origin/main", "HEAD", code=1)
    assert "ERROR: metrics/summary.json of HEAD is not JSON" in output


def test_names_of_products_are_shown_literally() -> None:
    name = "a|b\n<img src=x> [x](http://y) `c` @team #12 ![p](q) **bold**"
    text = escape(name)
    assert "\n" not in text
    assert not re.search(r"(?<!\\)[|<\[\]`*!]", text)
    assert "@team" not in text
    assert "#12" not in text
    assert re.sub(r"\\(.)", r"\1", text).replace("\N{ZERO WIDTH SPACE}", "") == name.replace("\n", " ")


ODD_TEXTS = (
    "`",
    "a`b``c",
    "a|b",
    "|",
    "a\\",
    "a\\|b",
    "x\n\n| y | z |\n",
    "**bold** _em_ a_b __c__ ~~d~~",
    "[x](//evil.example) [x](https:\\/\\/evil.example) ![p](q)",
    "https://evil.example www.evil.example _www.evil.example_",
    "<https://evil.example> <img src=x onerror=y> <b>",
    "@team #12 GH-13 _gh-14_ owner/name#15 &lt; &#64;x",
    "a\x1b[2J\x07\x9b31m\x00b\u202ec",
    "$x$ :tada: - + 1.",
)


@pytest.mark.parametrize("text", ODD_TEXTS)
@pytest.mark.parametrize("form", [escape, code])
def test_a_text_is_shown_literally_wherever_it_stands(text: str, form: Callable[[str], str]) -> None:
    shown = form(text)
    assert not CONTROL_CHARACTERS.search(shown)
    for page, place in ((f"see {shown}", "p"), (f"- see {shown}", "li"), (f"| a |\n| - |\n| see {shown} |", "td")):
        html = rendered(page)
        assert not re.search(r"<(?!/?(?:p|ul|li|table|thead|tbody|tr|th|td|code)\b)", html), html
        (words,) = re.findall(rf"<{place}>(.*?)</{place}>", html, re.DOTALL)
        visible = unescape(re.sub("<[^>]*>", "", words)).replace("\N{ZERO WIDTH SPACE}", "")
        assert visible == f"see {' '.join(printable(text).split())}"
    if not shown.startswith("`"):  # GitHub links nothing within code
        assert not re.search(r"@\w|#\d|gh-\d|://|www\.", shown.replace("\\", ""), re.IGNORECASE)


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_names_and_values_leave_the_review_around_them_alone(tmp_path: Path, text: str) -> None:
    root = small_pipeline(tmp_path)
    tracked = {"name": text, "category": text, "similar": ["b"]}
    category = {"category": text, "recall": 0.5, "images": 9}
    for seed, score in ((text, 0.5), (f"{text}!", 0.4)):
        (root / "params.yaml").write_text(yaml.safe_dump({"clean": {"seed": seed}, text: seed}))
        write_metrics(
            root,
            summary=json.dumps({"recall": score, text: score}),
            clean=json.dumps({text: score}),
            per_category=json.dumps([{**category, "recall": score}, {**category, "category": seed}]),
            tracked_products=json.dumps({text: {**tracked, "similar": [seed]}}),
        )
        commit_all(root)
    page = format_review(review_change(root, "HEAD~1", "HEAD"))
    assert not CONTROL_CHARACTERS.search(page)
    html = rendered(page)
    assert not re.search(r"<(?:a|img|em|s|script)\b", html), html
    tables = re.findall(r"<table>.*?</table>", html, re.DOTALL)
    assert len(tables) >= 4
    for table in tables:
        columns = table.count("<th")  # and thead
        assert {row.count("<td") for row in re.findall(r"<tr>.*?</tr>", table.partition("<tbody>")[2], re.DOTALL)} == {
            columns - 1
        }


def test_summary_policy_and_noise_are_about_the_same_metrics(experimented: Project) -> None:
    folder = experimented.folder
    summary = json.loads((folder / "metrics/summary.json").read_text())
    policy = yaml.safe_load((folder / "policy.yaml").read_text())
    noise = json.loads((folder / "metrics/noise.json").read_text())
    assert list(summary) == [name for name in policy if name in summary]
    assert set(policy) >= set(noise["metrics"])

    evaluation = json.loads((folder / "metrics/evaluate.json").read_text())
    assert all(summary[name] == evaluation[name] for name in summary if name in evaluation)
    recommendations = pd.read_parquet(folder / "data/recommendations.parquet")
    for product_id, product in json.loads((folder / "metrics/tracked_products.json").read_text()).items():
        rows = recommendations[recommendations["product_id"] == product_id].sort_values("rank")
        assert rows["similar_product_id"].tolist() == product["similar"]
