"""Weights chosen by the judged questions of the validation split: the command `marketplace tune`."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from rich.table import Table

from marketplace.common.console import table_console
from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.catalogue import read_catalogue
from marketplace.recommendation.fingerprints import EMBEDDINGS, TEXT_MODEL
from marketplace.recommendation.judged import JudgedPairs, Kind, read_judged_pairs
from marketplace.recommendation.rules import RecommendSettings
from marketplace.recommendation.similarity import PARTS, Weights
from marketplace.relevance.judgements import JUDGEMENTS, SEARCHES
from marketplace.relevance.metrics import Judge
from marketplace.relevance.uncertainty import mean
from marketplace.texts.text_model import TextModel
from marketplace.vectors.tables import read_predictions

STEPS = 20  # weights are multiples of 1/20
FOLDS = 5
FEW_QUESTIONS = 20  # fewer judged questions choose weights at random


@dataclass(frozen=True)
class Tuning:
    """The weights that rank the judged candidates of one kind of question best, and how much that says."""

    questions: int
    weights: Weights
    quality: float  # of these weights, on the questions that chose them: see `measure_quality`
    cross_validated: float  # on questions that had no say in the choice
    present: float  # of the weights in params.yaml
    without: dict[str, float]  # the best quality without each part


def tune_weights(pairs: JudgedPairs, present: Weights) -> Tuning:
    """Choose weights on a grid for judged pairs, all of which count."""
    candidates = np.array(list(_grid()))  # (W, 4)
    judge = Judge(pairs.judgements)
    qualities = np.stack([measure_quality(judge, pairs.score(shares)) for shares in candidates])  # (W, Q)
    chosen = _choose(candidates, qualities)
    return Tuning(
        questions=len(judge.questions),
        weights=_as_weights(chosen),
        quality=mean(measure_quality(judge, pairs.score(chosen))),
        cross_validated=_cross_validate(pairs, judge, candidates, qualities),
        present=mean(measure_quality(judge, pairs.scores(present))),
        without={
            name: mean(measure_quality(judge, pairs.score(_choose_without(column, candidates, qualities))))
            for column, name in enumerate(PARTS)
        },
    )


def measure_quality(judge: Judge, scores: np.ndarray) -> np.ndarray:
    """Return the mean of good@6 and nDCG@8 of each question, `(Q,)`; NaN for a question without any gain."""
    quality = judge.measure(scores)
    return (quality.good_at_6 + quality.ndcg_at_8) / 2


def _grid() -> Iterator[tuple[float, ...]]:
    """Yield all weights in steps that add up to 1."""
    for steps in product(range(STEPS + 1), repeat=len(PARTS)):
        if sum(steps) == STEPS:
            yield tuple(step / STEPS for step in steps)


def _choose(candidates: np.ndarray, qualities: np.ndarray) -> np.ndarray:
    """Return the mean `(4,)` of the weights `(W, 4)` that are not clearly worse than the best.

    Weights are clearly worse if the mean of the differences between their qualities `(W, Q)` and the best ones is more
    than its standard error (the rule of one standard error; Breiman et al., 1984). The best weights alone would follow
    the noise of a few questions.
    """
    best = int(_mean_of_questions(qualities).argmax())
    losses = qualities[best] - qualities
    n_known = np.maximum(1, np.isfinite(losses).sum(axis=1))
    means = np.where(np.isfinite(losses), losses, 0).sum(axis=1) / n_known
    deviations = np.where(np.isfinite(losses), losses - means[:, None], 0)
    standard_errors = np.sqrt((deviations**2).sum(axis=1)) / n_known
    return candidates[means <= standard_errors].mean(axis=0)


def _choose_without(column: int, candidates: np.ndarray, qualities: np.ndarray) -> np.ndarray:
    """Choose among the weights that leave one part out."""
    is_left_out = candidates[:, column] == 0
    return _choose(candidates[is_left_out], qualities[is_left_out])


def _cross_validate(pairs: JudgedPairs, judge: Judge, candidates: np.ndarray, qualities: np.ndarray) -> float:
    """Return the mean quality of questions by the weights that the questions of the other folds choose."""
    n_questions = qualities.shape[1]
    fold = np.random.default_rng(0).permutation(n_questions) % FOLDS
    held_out_quality = np.full(n_questions, np.nan)
    for number in range(min(FOLDS, n_questions)):
        held_out = fold == number
        if not held_out.all():
            weights = _choose(candidates, qualities[:, ~held_out])
            held_out_quality[held_out] = measure_quality(judge, pairs.score(weights))[held_out]
    return mean(held_out_quality)


def _mean_of_questions(qualities: np.ndarray) -> np.ndarray:
    """Return the mean `(W,)` over questions whose quality `(W, Q)` is known."""
    known = np.isfinite(qualities)
    return np.where(known, qualities, 0).sum(axis=1) / np.maximum(1, known.sum(axis=1))


def _as_weights(values: np.ndarray) -> Weights:
    return Weights(**{name: round(float(value), 4) for name, value in zip(PARTS, values, strict=True)})


def print_best_weights(root: Path, settings: RecommendSettings) -> None:
    """Print the best weights for each kind of question, the worth of each part, and how to try them.

    `root` is the folder of a finished pipeline, `settings` its section `recommend`. Raises MarketplaceError if no
    question of the validation split is judged.
    """
    catalogue = read_catalogue(root)
    judged = read_judged_pairs(
        root=root,
        catalogue=catalogue,
        predictions=read_predictions(root / EMBEDDINGS),
        settings=settings,
        open_texts=lambda: TextModel(root / TEXT_MODEL).embed_words,
    )
    console = table_console(markup=True)
    changes = []
    for kind, pairs in judged.items():
        in_validation = pairs.splits == "val"
        if not in_validation.any():
            continue
        own_weights = getattr(settings.weights, kind)
        tuning = tune_weights(pairs.select(in_validation), own_weights)
        console.print(_describe(kind, tuning))
        console.print(_table(tuning, own_weights))
        changes += [f"-S recommend.weights.{kind}.{name}={value:g}" for name, value in tuning.weights]
    if not changes:
        raise MarketplaceError(
            f"no question of the validation split is judged: add judgements to {JUDGEMENTS} or {SEARCHES}, for "
            "example with `marketplace feedback --export`."
        )
    sys.stdout.write(f"dvc exp run {' '.join(changes)}\n")


def _describe(kind: Kind, tuning: Tuning) -> str:
    few = " (few: another question may change everything)" if tuning.questions < FEW_QUESTIONS else ""
    return (
        f"\n[bold]{kind}[/bold]: {tuning.questions} judged questions{few}. Quality, the mean of good@6 and nDCG@8: "
        f"{tuning.present:.3f} with the present weights, {tuning.quality:.3f} with the best ones, "
        f"{tuning.cross_validated:.3f} for questions that had no say in their choice."
    )


def _table(tuning: Tuning, present: Weights) -> Table:
    table = Table("part", "present", "best", "worth", box=None, pad_edge=False, header_style="bold")
    shares = present.normalised().model_dump()
    for name, weight in tuning.weights:
        worth = tuning.quality - tuning.without[name]
        table.add_row(name, f"{shares[name]:.2f}", f"{weight:.2f}", f"{worth:+.3f}")
    return table
