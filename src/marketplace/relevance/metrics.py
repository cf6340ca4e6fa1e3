"""Metrics of a ranking by judgements.

Only a question's judged candidates are ranked: unjudged products neither help nor harm. Equal scores are ordered by id.
"""

from dataclasses import dataclass

import numpy as np

from marketplace.relevance.judgements import Judgements

GOOD = 2  # the grade of a real alternative
GOOD_DEPTH = 6  # good@6: the recommendations that fit on a screen
GAINS = np.array([0.0, 1.0, 3.0])  # of the grades
NDCG_DEPTH = 8


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
