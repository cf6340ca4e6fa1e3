"""Weights chosen by judgements."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.project import Project

from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.judged import JudgedPairs
from marketplace.recommendation.similarity import Weights
from marketplace.relevance.judgements import Judgements
from marketplace.relevance.metrics import Judge
from marketplace.review.tuning import measure_quality, print_best_weights, tune_weights
from marketplace.settings import load_settings

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
        bonus=np.zeros(len(similarities), np.float32),
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


def test_the_command_prints_a_line_that_dvc_understands(
    reproduced: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "models").symlink_to(reproduced.folder / "models")
    for path in (reproduced.folder / "data").iterdir():
        (tmp_path / "data" / path.name).symlink_to(path)
    settings = load_settings(reproduced.folder / "params.yaml").recommend
    with pytest.raises(MarketplaceError, match="no question of the validation split is judged"):
        print_best_weights(tmp_path, settings)

    products = pd.read_parquet(reproduced.folder / "data/clean/training_data.parquet").drop_duplicates("product_id")
    rng = np.random.default_rng(0)
    pairs = [
        (question, candidate, rng.integers(3))
        for question in products["product_id"][products["split"] == "val"]
        for candidate in products["product_id"].iloc[:15]
        if candidate != question
    ]
    (tmp_path / "data/judgements.csv").unlink()
    table = pd.DataFrame(pairs, columns=["product_id", "similar_product_id", "grade"])
    table.to_csv(tmp_path / "data/judgements.csv", index=False)
    print_best_weights(tmp_path, settings)
    output = capsys.readouterr().out
    assert "product: " in output
    assert "[bold]" not in output
    (line,) = re.findall(r"^dvc exp run (.*)$", output, re.MULTILINE)
    changes = dict(change.split("=") for change in line.split(" ") if change != "-S")
    assert len(changes) == 8  # of a product's question and of a photo's
    assert all(re.fullmatch(r"recommend\.weights\.(product|photo)\.\w+", key) for key in changes)
    assert sum(float(value) for key, value in changes.items() if ".product." in key) == pytest.approx(1, abs=0.01)
