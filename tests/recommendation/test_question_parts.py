"""The parts of questions in words."""

import numpy as np
import pytest

from marketplace.recommendation import questions
from marketplace.recommendation.questions import expect_path, mean_path


def test_in_a_large_catalogue_the_nearest_titles_say_which_path_words_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    titles = rng.normal(size=(9, 4)).astype(np.float32)
    paths = rng.normal(size=(9, 3)).astype(np.float32)
    meaning = titles[2]
    similarities = titles @ meaning
    every_title = mean_path(similarities, paths)
    assert expect_path(meaning, titles, paths).tolist() == every_title.tolist()
    monkeypatch.setattr(questions, "INDEX_ABOVE", 8)
    monkeypatch.setattr(questions, "NEAREST_TITLES", 3)
    nearest = np.argsort(-similarities)[:3]
    expected = np.exp(similarities[nearest] / questions.PATH_TEMPERATURE) @ paths[nearest]
    expected /= np.exp(similarities[nearest] / questions.PATH_TEMPERATURE).sum()
    np.testing.assert_allclose(expect_path(meaning, titles, paths), expected, rtol=1e-5)
