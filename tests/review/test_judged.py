"""The judged relevance of two revisions in a review."""

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.paths import JUDGEMENTS

from marketplace.common.errors import MarketplaceError
from marketplace.relevance.judgements import PRODUCT_COLUMNS, read_judgements
from marketplace.relevance.metrics import Judge
from marketplace.review.comparison import Review
from marketplace.review.judged import JudgedComparison, compare_judged
from marketplace.review.markdown import format_review
from marketplace.review.revisions import WORKSPACE, Revision

Row = dict[str, Any]


def make_row(question: str, good: float, ndcg: float | None = 0.5, kind: str = "product", split: str = "test") -> Row:
    return {"kind": kind, "split": split, "question": question, "good_at_6": good, "ndcg_at_8": ndcg}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An empty Git repository."""
    git(tmp_path, "init", "-q")
    (tmp_path / "metrics").mkdir()
    (tmp_path / "data").mkdir()
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True)


def commit(folder: Path, rows: list[Row], judgements: str = "product_id,similar_product_id,grade\n") -> Revision:
    """Commit the quality of judged questions, and the judgements."""
    questions: dict[str, dict[str, Row]] = {}
    for row in rows:
        values = {name: row[name] for name in ("split", "good_at_6", "ndcg_at_8")}
        questions.setdefault(str(row["kind"]), {})[str(row["question"])] = values
    (folder / "metrics/judged.json").write_text(json.dumps({"questions": questions}))
    (folder / "data/judgements.csv").write_text(judgements)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "results", "--allow-empty")
    return Revision.of(folder, "HEAD")


def page_of(base: Revision, head: Revision, judged: JudgedComparison | None) -> str:
    return format_review(Review(base=base, head=head, judged=judged))


def test_only_test_questions_that_both_have_are_compared(repository: Path) -> None:
    shared = [make_row("a", 0.5, 0.2), make_row("b", 0.5, None), make_row("red hat", 0.1, 0.1, "words")]
    base = commit(repository, [*shared, make_row("gone", 0.9), make_row("v", 0.0, 0.0, split="val")])
    changed = [make_row("b", 1.0, None), make_row("a", 0.6, 0.5), make_row("red hat", 0.1, 0.2, "words")]
    head = commit(repository, [*changed, make_row("new", 0.9), make_row("v", 1.0, 1.0, split="val")])
    noise = {"metrics": {"good_at_6": {"values": [0.4, 0.5, 0.6], "spread": 0.1}}}
    judged = compare_judged(base, head, noise)
    assert judged is not None
    by_metric = {(row.kind, row.metric): row for row in judged.differences}
    assert list(by_metric) == [(kind, name) for kind in ("product", "words") for name in ("good_at_6", "ndcg_at_8")]
    good = by_metric["product", "good_at_6"]
    assert good.difference.questions == 2
    assert good.difference.mean == pytest.approx(0.3)
    assert good.band == pytest.approx(4.303 * 0.1 * math.sqrt(2), rel=1e-3)
    ndcg = by_metric["product", "ndcg_at_8"]
    assert ndcg.difference.questions == 1
    assert ndcg.difference.mean == pytest.approx(0.3)
    assert ndcg.band is None
    page = page_of(base, head, judged)
    assert "| a product | `good_at_6` | 0.5000 | 0.8000 | +0.3000 | +0.1000 to +0.5000 | ±0.6085 | 2 | 7 |" in page
    assert "| words | `good_at_6` | 0.1000 | 0.1000 | +0.0000 | +0.0000 to +0.0000 | not measured | 1 | – |" in page
    assert "other grades" not in page


def test_the_differences_are_those_of_the_real_judgements(repository: Path) -> None:
    if not JUDGEMENTS.is_dir():
        pytest.skip(f"the judgements of a real marketplace are not at {JUDGEMENTS}")
    table = pd.read_csv(JUDGEMENTS / "products.csv", dtype=str)
    products = set(table["product_id"]) | set(table["similar_product_id"])
    judgements = read_judgements(JUDGEMENTS / "products.csv", PRODUCT_COLUMNS, products)
    rng = np.random.default_rng(0)
    scores = rng.random(len(judgements)) + 0.1 * judgements.grades
    better_scores = scores + 0.2 * judgements.grades
    judge = Judge(judgements)
    revisions = []
    for own_scores in (scores, better_scores):
        quality = judge.measure(own_scores)
        figures = zip(judge.questions.tolist(), quality.good_at_6.tolist(), quality.ndcg_at_8.tolist(), strict=True)
        rows = [make_row(question, good, None if math.isnan(ndcg) else ndcg) for question, good, ndcg in figures]
        revisions.append(commit(repository, rows))
    base, head = revisions
    judged = compare_judged(base, head, None)
    assert judged is not None
    good, _ = judged.differences

    frame = pd.DataFrame({"question": judgements.questions, "good": judgements.grades == 2})
    counts = [
        frame.assign(score=own_scores).sort_values("score", ascending=False).groupby("question").head(6)
        for own_scores in (scores, better_scores)
    ]
    before, after = (top.groupby("question")["good"].sum().sort_index() / 6 for top in counts)
    assert good.difference.mean == pytest.approx((after - before).mean())
    assert good.difference.questions == 120
    standard_error = (after - before).std() / math.sqrt(120)
    assert good.difference.low == pytest.approx(good.difference.mean - 1.96 * standard_error, abs=0.3 * standard_error)
    assert good.difference.high == pytest.approx(good.difference.mean + 1.96 * standard_error, abs=0.3 * standard_error)
    ratio = 2.8 * standard_error * math.sqrt(120) / good.difference.mean
    assert good.difference.needed == math.ceil(ratio**2)


def test_a_tiny_difference_needs_more_questions_than_anyone_judges(repository: Path) -> None:
    base = commit(repository, [make_row(name, 0.5) for name in "abcd"])
    head = commit(repository, [make_row(name, good) for name, good in zip("abcd", [1, 0.002, 1, 0], strict=True)])
    assert "| 4 | more than 10,000 |" in page_of(base, head, compare_judged(base, head, None))


def test_without_judgements_there_is_no_section(repository: Path) -> None:
    base = commit(repository, [])
    assert compare_judged(base, base, None) is None
    assert "Judged" not in page_of(base, base, None)


def test_judgements_of_one_revision_or_of_other_questions_are_a_sentence(repository: Path) -> None:
    none = commit(repository, [])
    base = commit(repository, [make_row("a", 0.5)])
    head = commit(repository, [make_row("b", 0.5), make_row("a", 0.5, split="val")], "other\n")
    one_sided = page_of(none, base, compare_judged(none, base, None))
    assert f"Only {base.label} has judged questions" in one_sided
    unrelated = page_of(base, head, compare_judged(base, head, None))
    assert "No question of the test split is judged at both revisions." in unrelated
    assert "`data/judgements.csv` differs" in unrelated


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", r"metrics/judged.json of workspace is malformed: its content: Input should be"),
        ('{"questions": {"smell": {}}}', r"malformed: questions.smell.*: Input should be 'product'"),
        ("{", "metrics/judged.json of workspace is not JSON"),
    ],
)
def test_a_malformed_file_is_a_sentence(repository: Path, content: str, message: str) -> None:
    (repository / "metrics/judged.json").write_text(content)
    revision = Revision.of(repository, WORKSPACE)
    with pytest.raises(MarketplaceError, match=message):
        compare_judged(revision, revision, None)


def test_without_a_file_there_is_nothing_to_compare(repository: Path) -> None:
    revision = Revision.of(repository, WORKSPACE)
    assert compare_judged(revision, revision, None) is None
