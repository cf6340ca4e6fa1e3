"""Judged quality, compared with an answer computed another way."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.paths import JUDGEMENTS
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from marketplace.relevance.judgements import PRODUCT_COLUMNS, SEARCH_COLUMNS, Judgements, read_judgements
from marketplace.relevance.metrics import GAINS, Judge
from marketplace.relevance.uncertainty import mean

PAIRS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 40), st.integers(0, 2), st.integers(-5, 5)),
    min_size=1,
    max_size=80,
    unique_by=lambda pair: pair[:2],
)


@settings(deadline=None)  # scikit-learn is imported in the first example
@given(PAIRS)
def test_the_metrics_are_those_of_scikit_learn_and_of_counting(pairs: list[tuple[str, int, int, int]]) -> None:
    pairs = sorted((question, candidate, grade, score) for question, candidate, grade, score in pairs)
    judgements = Judgements(
        questions=np.array([question for question, *_ in pairs]),
        candidates=np.array([f"{candidate:03}" for _, candidate, *_ in pairs]),
        grades=np.array([grade for *_, grade, _ in pairs]),
    )
    quality = Judge(judgements).measure(np.array([float(score) for *_, score in pairs]))
    for place, question in enumerate(sorted({question for question, *_ in pairs})):
        ranked = sorted((-score, candidate, grade) for name, candidate, grade, score in pairs if name == question)
        grades = [grade for *_, grade in ranked]
        assert quality.good_at_6[place] == pytest.approx(sum(grade == 2 for grade in grades[:6]) / 6)
        if not any(grades):
            assert math.isnan(quality.ndcg_at_8[place])
        elif len(grades) > 1:
            gains = GAINS[grades]
            expected = ndcg_score([gains], [-np.arange(len(grades))], k=8)
            assert quality.ndcg_at_8[place] == pytest.approx(expected)


def test_a_candidate_that_is_never_listed_gains_nothing() -> None:
    judgements = Judgements(
        questions=np.array(["a", "a", "a"]), candidates=np.array(["x", "y", "z"]), grades=np.array([2, 2, 1])
    )
    quality = Judge(judgements).measure(np.array([1.0, -np.inf, 2.0]))
    assert quality.good_at_6[0] == pytest.approx(1 / 6)
    best = 3 + 3 / math.log2(3) + 1 / 2
    assert quality.ndcg_at_8[0] == pytest.approx((1 + 3 / math.log2(3)) / best)


@pytest.mark.parametrize(("file", "columns"), [("products.csv", PRODUCT_COLUMNS), ("words.csv", SEARCH_COLUMNS)])
def test_the_metrics_are_those_of_the_reference(file: str, columns: tuple[str, str, str], tmp_path: Path) -> None:
    if not JUDGEMENTS.is_dir():
        pytest.skip(f"the judgements of a real marketplace are not at {JUDGEMENTS}")
    table = pd.read_csv(JUDGEMENTS / file, dtype=str)
    products = set(table[columns[1]]) | set(table[columns[0]])
    judgements = read_judgements(JUDGEMENTS / file, columns, products)
    scores = np.random.default_rng(0).integers(0, 30, len(judgements)) / 30  # with ties
    question, candidate, _ = columns
    pairs = {question: judgements.questions, candidate: judgements.candidates, "score": scores}
    pd.DataFrame(pairs).to_csv(tmp_path / "scores.csv", index=False)
    command: list[str | Path] = [
        sys.executable,
        JUDGEMENTS / "reference.py",
        JUDGEMENTS / file,
        tmp_path / "scores.csv",
    ]
    output = subprocess.run(command, text=True, capture_output=True, check=True).stdout
    quality = Judge(judgements).measure(scores)
    figures = f"good@6 {mean(quality.good_at_6):.3f}  nDCG@8 {mean(quality.ndcg_at_8):.3f}"
    assert output.strip() == f"questions {len(quality.good_at_6)}  {figures}"
