"""Metrics of a ranking by judgements, and their uncertainty.

Only a question's judged candidates are ranked: unjudged products neither help nor harm. Equal scores are ordered by id.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from marketplace.relevance.judgements import Judgements

GOOD = 2  # the grade of a real alternative
GOOD_DEPTH = 6  # good@6: the recommendations that fit on a screen
GAINS = np.array([0.0, 1.0, 3.0])  # of the grades
NDCG_DEPTH = 8
RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Quality:
    """The metrics of each question; nDCG is NaN for a question without any gain."""

    good_at_6: np.ndarray  # (Q,) float, the share of the first six candidates that are good
    ndcg_at_8: np.ndarray  # (Q,) float


def judged_quality(judgements: Judgements, scores: np.ndarray) -> Quality:
    """The quality of the ranking by `scores` `(J,)`, one for each judged pair; -inf for a pair that is never listed."""
    table = pd.DataFrame(
        {"question": judgements.questions, "candidate": judgements.candidates, "grade": judgements.grades}
    ).assign(score=scores)
    good = []
    ndcg = []
    for _, pairs in table.groupby("question"):
        ranked = pairs.sort_values(["score", "candidate"], ascending=[False, True])["grade"].to_numpy()
        good.append((ranked[:GOOD_DEPTH] == GOOD).sum() / GOOD_DEPTH)
        ndcg.append(ndcg_at_k(ranked, NDCG_DEPTH))
    return Quality(good_at_6=np.array(good), ndcg_at_8=np.array(ndcg))


def ndcg_at_k(grades: np.ndarray, k: int) -> float:
    """Normalised discounted cumulative gain of ranked grades `(n,)`; NaN if no candidate has a gain.

        nDCG@k = DCG@k(grades) / DCG@k(grades in the best order),   DCG@k = sum over i <= k of gain_i / log2(i + 1)

    Järvelin & Kekäläinen, 2002, https://doi.org/10.1145/582415.582418.
    """
    gains = GAINS[grades]
    ideal = np.sort(gains)[::-1]
    discounts = 1 / np.log2(np.arange(2, k + 2))
    best = float(ideal[:k] @ discounts[: len(ideal)])
    return float(gains[:k] @ discounts[: len(gains)]) / best if best else float("nan")


def bootstrap_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the mean of `values` `(Q,)`, by resampling questions; NaN values are left out.

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


def mean(values: np.ndarray) -> float:
    """The mean of the values that are not NaN; NaN if there are none."""
    present = values[np.isfinite(values)]
    return float(present.mean()) if len(present) else float("nan")
