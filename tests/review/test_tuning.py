"""Weights chosen by judgements."""

import numpy as np
import pytest

from marketplace.recommendation.judged import JudgedPairs
from marketplace.recommendation.similarity import Weights
from marketplace.relevance.judgements import Judgements
from marketplace.relevance.metrics import Judge
from marketplace.review.tuning import measure_quality, tune_weights

N_QUESTIONS = 30
N_CANDIDATES = 20
EQUAL = Weights(kind=1, text=1, title=1, path=1)


@pytest.fixture
def pairs() -> JudgedPairs:
    """Grades that text and path decide together, twice as much text; kind and title are noise."""
    rng = np.random.default_rng(0)
    similarities = rng.random((N_QUESTIONS * N_CANDIDATES, 4)).astype(np.float32)
    relevance = 2 * similarities[:, 1] + similarities[:, 3]
    return JudgedPairs(
        judgements=Judgements(
            questions=np.repeat([f"q{number:02}" for number in range(N_QUESTIONS)], N_CANDIDATES),
            candidates=np.tile([f"c{number:02}" for number in range(N_CANDIDATES)], N_QUESTIONS),
            grades=np.digitize(relevance, [1.5, 2.2]),
        ),
        splits=np.repeat("val", len(similarities)),
        candidates=np.tile(np.arange(N_CANDIDATES), N_QUESTIONS),
        similarities=similarities,
    )


def test_the_parts_that_decide_get_the_weight(pairs: JudgedPairs) -> None:
    tuning = tune_weights(pairs, EQUAL)
    assert tuning.questions == N_QUESTIONS
    assert tuning.weights.text > tuning.weights.path > 0.2
    assert tuning.weights.kind + tuning.weights.title <= 0.15
    assert tuning.quality >= tuning.cross_validated > tuning.present
    worth = {name: tuning.quality - quality for name, quality in tuning.without.items()}
    assert worth["text"] > worth["path"] > max(worth["kind"], worth["title"]) >= 0


def test_the_qualities_are_those_of_the_weights(pairs: JudgedPairs) -> None:
    tuning = tune_weights(pairs, EQUAL)
    judge = Judge(pairs.judgements)
    assert tuning.quality == pytest.approx(measure_quality(judge, pairs.scores(tuning.weights)).mean())
    assert tuning.present == pytest.approx(measure_quality(judge, pairs.scores(EQUAL)).mean())


def test_one_question_can_be_tuned(pairs: JudgedPairs) -> None:
    single = pairs.select(pairs.judgements.questions == "q00")
    tuning = tune_weights(single, EQUAL)
    assert tuning.quality >= tuning.present
    assert np.isnan(tuning.cross_validated)
