"""Weights chosen by the judged questions of the validation split."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from marketplace.recommendation.judged import JudgedPairs
from marketplace.recommendation.similarity import PARTS, Weights
from marketplace.relevance.metrics import Judge, mean

STEPS = 20  # weights are multiples of 1/20
FOLDS = 5


@dataclass(frozen=True)
class Tuning:
    """The weights that rank the judged candidates of one kind of question best, and how much that says."""

    questions: int
    weights: Weights
    quality: float  # of these weights, on the questions that chose them: see `objective`
    cross_validated: float  # on questions that had no say in the choice
    present: float  # of the weights in params.yaml
    without: dict[str, float]  # the best quality without each part


def tune_weights(pairs: JudgedPairs, present: Weights) -> Tuning:
    """Choose weights on a grid for judged pairs, all of which count."""
    candidates = np.array(list(_grid()))  # (W, 4)
    judge = Judge(pairs.judgements)
    qualities = np.stack([objective(judge, pairs.similarities @ weights) for weights in candidates])  # (W, Q)
    best = int(_mean_of_questions(qualities).argmax())
    return Tuning(
        questions=len(judge.questions),
        weights=_as_weights(candidates[best]),
        quality=mean(qualities[best]),
        cross_validated=_cross_validate(qualities),
        present=mean(objective(judge, pairs.scores(present))),
        without={
            name: float(_mean_of_questions(qualities[candidates[:, column] == 0]).max())
            for column, name in enumerate(PARTS)
        },
    )


def objective(judge: Judge, scores: np.ndarray) -> np.ndarray:
    """Return the mean of good@6 and nDCG@8 of each question, `(Q,)`; NaN for a question without any gain."""
    quality = judge.measure(scores)
    return (quality.good_at_6 + quality.ndcg_at_8) / 2


def _grid() -> Iterator[tuple[float, ...]]:
    """Yield all weights in steps that add up to 1."""
    for steps in product(range(STEPS + 1), repeat=len(PARTS)):
        if sum(steps) == STEPS:
            yield tuple(step / STEPS for step in steps)


def _cross_validate(qualities: np.ndarray) -> float:
    """Return the mean quality of questions by the weights that the questions of the other folds choose."""
    n_questions = qualities.shape[1]
    fold = np.random.default_rng(0).permutation(n_questions) % FOLDS
    chosen = np.full(n_questions, np.nan)
    for number in range(min(FOLDS, n_questions)):
        held_out = fold == number
        if not held_out.all():
            chosen[held_out] = qualities[int(_mean_of_questions(qualities[:, ~held_out]).argmax()), held_out]
    return mean(chosen)


def _mean_of_questions(qualities: np.ndarray) -> np.ndarray:
    """Return the mean `(W,)` over questions whose quality `(W, Q)` is known."""
    known = np.isfinite(qualities)
    return np.where(known, qualities, 0).sum(axis=1) / np.maximum(1, known.sum(axis=1))


def _as_weights(values: np.ndarray) -> Weights:
    return Weights(**{name: round(float(value), 4) for name, value in zip(PARTS, values, strict=True)})
