"""Metrics of a ranking by judgements, and their uncertainty.

Only a question's judged candidates are ranked: unjudged products neither help nor harm. Equal scores are ordered by id.
"""

import math
from dataclasses import dataclass

import numpy as np

from marketplace.relevance.judgements import Judgements

GOOD = 2  # the grade of a real alternative
GOOD_DEPTH = 6  # good@6: the recommendations that fit on a screen
GAINS = np.array([0.0, 1.0, 3.0])  # of the grades
NDCG_DEPTH = 8
RESAMPLES = 2000
CONFIDENCE = 0.95
TWO_SIDED_5_PERCENT = 1.96  # the standard normal quantile of 0.975
POWER_80_PERCENT = 0.84  # the standard normal quantile of 0.8


@dataclass(frozen=True)
class Quality:
    """The metrics of each question; nDCG is NaN for a question without any gain."""

    good_at_6: np.ndarray  # (Q,) float, the share of the first six candidates that are good
    ndcg_at_8: np.ndarray  # (Q,) float


class Judge:
    """Measures rankings of judged candidates; `questions` `(Q,)` are the distinct questions, sorted."""

    def __init__(self, judgements: Judgements) -> None:
        self.questions, question = np.unique(judgements.questions, return_inverse=True)
        counts = np.bincount(question, minlength=len(self.questions))
        place = np.arange(len(judgements)) - np.repeat(np.cumsum(counts) - counts, counts)
        self._cells = (question, place)  # of each judged pair in a row per question; candidates are ordered by id
        self._shape = (len(counts), max(int(counts.max(initial=0)), GOOD_DEPTH, NDCG_DEPTH))
        self._gains = self._in_rows(GAINS[judgements.grades], 0.0)
        self._is_good = self._in_rows((judgements.grades == GOOD).astype(float), 0.0)
        self._ideal = discounted_gain(-np.sort(-self._gains, axis=1))

    def measure(self, scores: np.ndarray) -> Quality:
        """Return the metrics of the ranking by `scores` `(J,)` of the judged pairs.

        The candidate of a pair with -inf is never listed, so it gains nothing. nDCG@k is DCG@k over the DCG@k of the
        best order (Järvelin & Kekäläinen, 2002, https://doi.org/10.1145/582415.582418).
        """
        in_rows = self._in_rows(scores, -np.inf)
        order = np.argsort(-in_rows, axis=1, kind="stable")
        is_listed = np.isfinite(in_rows)
        good = np.take_along_axis(self._is_good * is_listed, order, axis=1)[:, :GOOD_DEPTH]
        gain = discounted_gain(np.take_along_axis(self._gains * is_listed, order, axis=1))
        has_gain = self._ideal > 0
        ndcg = np.where(has_gain, gain / np.where(has_gain, self._ideal, 1), np.nan)
        return Quality(good_at_6=good.mean(axis=1), ndcg_at_8=ndcg)

    def _in_rows(self, values: np.ndarray, missing: float) -> np.ndarray:
        rows = np.full(self._shape, missing)
        rows[self._cells] = values
        return rows


def discounted_gain(gains: np.ndarray) -> np.ndarray:
    """Return DCG@8 of ranked gains `(Q, n)`: sum over i <= 8 of gain_i / log2(i + 1)."""
    return gains[:, :NDCG_DEPTH] @ (1 / np.log2(np.arange(2, NDCG_DEPTH + 2)))


def bootstrap_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the mean of `values` `(Q,)`, by resampling questions; NaN values are left out.

    The percentile bootstrap: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    present = values[np.isfinite(values)]
    if not len(present):
        return float("nan"), float("nan")
    draws = np.random.default_rng(seed).integers(len(present), size=(RESAMPLES, len(present)))
    means = present[draws].mean(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail]).tolist()
    return low, high


@dataclass(frozen=True)
class PairedDifference:
    """The change of a metric from a base to a head, over the questions for which both have it."""

    questions: int
    base: float  # the mean over these questions
    head: float
    mean: float  # of head minus base
    low: float  # the ends of the 95 % interval of that mean
    high: float
    needed: float  # see `questions_needed`


def compare_pairs(base: np.ndarray, head: np.ndarray, seed: int = 0) -> PairedDifference:
    """Compare a metric of the same questions at two revisions, `(Q,)` each, by the paired bootstrap.

    Questions with NaN on either side are left out.
    """
    is_known = np.isfinite(base) & np.isfinite(head)
    differences = (head - base)[is_known]
    low, high = bootstrap_interval(differences, seed)
    return PairedDifference(
        questions=len(differences),
        base=mean(base[is_known]),
        head=mean(head[is_known]),
        mean=mean(differences),
        low=low,
        high=high,
        needed=questions_needed(differences),
    )


def questions_needed(differences: np.ndarray) -> float:
    """Return how many questions would show a mean difference of the size in `differences` `(Q,)`.

    For a two-sided test at 5 % with a power of 80 %, that is ((1.96 + 0.84) * sd / mean)^2, rounded up; infinity for a
    mean of zero, and for fewer than two questions, whose deviation is unknown.
    """
    if len(differences) < 2 or differences.mean() == 0:
        return math.inf
    ratio = float(differences.std(ddof=1) / differences.mean())
    return max(1, math.ceil(((TWO_SIDED_5_PERCENT + POWER_80_PERCENT) * ratio) ** 2))


def mean(values: np.ndarray) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    present = values[np.isfinite(values)]
    return float(present.mean()) if len(present) else float("nan")
