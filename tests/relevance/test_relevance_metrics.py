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
from scipy.stats import bootstrap
from sklearn.metrics import ndcg_score

from marketplace.relevance.judgements import PRODUCT_COLUMNS, SEARCH_COLUMNS, Judgements, read_judgements
from marketplace.relevance.metrics import (
    GAINS,
    Judge,
    bootstrap_interval,
    compare_pairs,
    mean,
    questions_needed,
)

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


def test_an_interval_holds_its_mean_and_shrinks_with_more_questions() -> None:
    values = np.random.default_rng(1).random(400)
    few = bootstrap_interval(values[:25])
    many = bootstrap_interval(values)
    assert few[0] < mean(values[:25]) < few[1]
    assert many[1] - many[0] < (few[1] - few[0]) / 2
    expected = 2 * 1.96 * values.std() / len(values) ** 0.5
    assert many[1] - many[0] == pytest.approx(expected, rel=0.1)


def test_a_paired_interval_is_that_of_scipy_and_narrower_than_two_intervals() -> None:
    rng = np.random.default_rng(3)
    base = rng.random(70)
    head = base + 0.05 + rng.normal(0, 0.1, 70)
    with_gaps = compare_pairs(np.append(base, [np.nan, 0.5]), np.append(head, [0.9, np.nan]))
    difference = compare_pairs(base, head)
    assert with_gaps == difference
    assert difference.questions == 70
    assert difference.base == pytest.approx(base.mean())
    assert difference.head == pytest.approx(head.mean())
    assert difference.mean == pytest.approx(head.mean() - base.mean())
    expected = bootstrap((head - base,), np.mean, n_resamples=20_000, method="percentile", rng=rng).confidence_interval
    assert (difference.low, difference.high) == pytest.approx((expected.low, expected.high), abs=0.004)
    assert difference.high - difference.low < bootstrap_interval(base)[1] - bootstrap_interval(base)[0]


def test_as_many_questions_as_needed_show_a_difference_in_80_of_100_cases() -> None:
    rng = np.random.default_rng(5)
    differences = rng.normal(0.03, 0.1, 50)
    needed = questions_needed(differences)
    assert needed == questions_needed(-differences)
    spread = differences.std(ddof=1)
    draws = rng.normal(differences.mean(), spread, (4000, int(needed)))
    is_seen = np.abs(draws.mean(axis=1)) > 1.96 * spread / needed**0.5
    assert is_seen.mean() == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(
    ("differences", "needed"),
    [([], math.inf), ([0.5], math.inf), ([0.1, -0.1], math.inf), ([0.2, 0.2], 1), ([0.0, 0.2], 16)],
)
def test_some_differences_need_one_question_or_more_than_there_are(differences: list[float], needed: float) -> None:
    assert questions_needed(np.array(differences)) == needed


def test_without_a_question_nothing_is_known() -> None:
    assert all(math.isnan(value) for value in (*bootstrap_interval(np.array([])), mean(np.array([np.nan]))))
