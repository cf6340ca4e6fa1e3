"""A review in a terminal and in a pipe."""

import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.repositories import commit_all, small_pipeline

from marketplace.cli import main
from marketplace.common.console import CONTROL_CHARACTERS
from marketplace.relevance.uncertainty import compare_pairs
from marketplace.review.comparison import review_change
from marketplace.review.judged import JudgedComparison, JudgedDifference
from marketplace.review.markdown import format_review
from marketplace.review.terminal import print_markdown

ODD = "Baby & Kids <b>|\x1b[2J| @team #12"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two commits with other metrics, parameters and data."""
    root = small_pipeline(tmp_path)
    (root / "metrics/evaluate").mkdir(parents=True)
    for number in (0, 1):
        summary = {"same_product_recall_at_10": 0.5 + number / 10, "accuracy": 0.4}
        (root / "metrics/summary.json").write_text(json.dumps(summary))
        category = {"category": ODD, "recall": 0.5 + number / 10, "images": 9}
        (root / "metrics/evaluate/per_category.json").write_text(json.dumps([category]))
        product = {"name": ODD, "category": ODD, "similar": [str(number)]}
        tracked = {"4d7179a1-6937-5f52-9757-51692b06fe3e": product}
        (root / "metrics/tracked_products.json").write_text(json.dumps(tracked))
        (root / "dvc.lock").write_text((root / "dvc.lock").read_text().replace("md5: ", f"md5: {number}"))
        (root / "params.yaml").write_text(f"clean: {{seed: {number}}}\n")
        commit_all(root)
    return root


def test_a_terminal_shows_a_drawn_review_and_a_pipe_the_markdown(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["marketplace", "review", "HEAD~1", "HEAD"])
    monkeypatch.setenv("FORCE_COLOR", "1")  # a pipe stays a pipe
    with pytest.raises(SystemExit):
        main()
    markdown = capsys.readouterr().out
    assert markdown == format_review(review_change(root, "HEAD~1", "HEAD"))
    assert "<details><summary><b>Notes</b></summary>" in markdown

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    with pytest.raises(SystemExit):
        main()
    drawn = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())
    assert not CONTROL_CHARACTERS.search(drawn)
    assert max(map(len, drawn.splitlines())) <= 80
    assert not re.search(r"</?details>|</?summary>|\*\*|---|`", drawn)
    assert re.search(r"^ same_product_recall_at_10 +0\.5000 +0\.6000 +\+0\.1000 ", drawn, re.MULTILINE)
    headings = ("Parameters", "Stages whose outputs changed, and why", "Recommendations that changed", "Notes")
    assert set(headings) <= set(map(str.strip, drawn.splitlines()))
    assert "4d7179a1-6937-5f52-9757-51692b06fe3e" in drawn
    assert "…" not in drawn
    assert "Baby & Kids <b>|\N{REPLACEMENT CHARACTER}[2J| @team" in re.sub(r"\s+", " ", drawn)


def test_judged_questions_fit_into_80_columns(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((2, 30))
    difference = JudgedDifference(kind="product", metric="ndcg_at_8", difference=compare_pairs(*values), band=0.0123)
    review = replace(review_change(root, "HEAD", "HEAD"), judged=JudgedComparison(differences=[difference]))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    print_markdown(format_review(review, folded=False))
    drawn = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())
    assert max(map(len, drawn.splitlines())) <= 80
    assert re.search(r"• a product, ndcg_at_8: 0\.\d{4} → 0\.\d{4}, change -0\.0581", drawn)
