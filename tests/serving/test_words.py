import numpy as np
import pytest

from marketplace.recommendation.ranking import INDEX_ABOVE
from marketplace.serving import words
from marketplace.serving.words import WordSearch


@pytest.fixture(scope="module")
def texts() -> np.ndarray:
    """Text vectors of unit length with a few directions in common, as real ones have; some products have no text."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(8000, 40)) ** 3 @ rng.normal(size=(40, 200))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[:10] = 0
    return vectors.astype(np.float32)


@pytest.mark.parametrize("share", [1.0, 0.9, 0.01, 0.0])
def test_among_many_products_the_best_are_those_of_comparing_all(
    texts: np.ndarray, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    passing = rng.random(len(texts)) < share
    exact = WordSearch(texts)
    monkeypatch.setattr(words, "MAX_EXACT_TEXTS", 1000)
    coarse = WordSearch(texts)
    for question in texts[rng.integers(10, len(texts), 20)]:
        numbers, scores = exact.scores(question, passing)
        assert (numbers == np.flatnonzero(passing)).all()
        np.testing.assert_allclose(scores, (texts @ question)[numbers], atol=1e-5)
        found, of_found = coarse.scores(question, passing)
        assert passing[found].all()
        assert len(found) == min(len(numbers), words.SHORTLIST) or len(numbers) <= INDEX_ABOVE
        best = numbers[np.argsort(-scores, kind="stable")[:50]]
        assert set(best) <= set(found)
        np.testing.assert_allclose(of_found, (texts @ question)[found], atol=1e-5)
