"""The probability that a shopper calls a recommendation good, as a function of its score."""

from dataclasses import dataclass
from typing import Any

import numpy as np

MIN_PAIRS = 50  # too few for a calibration below
CLOSE_PROBABILITY = 0.5  # from which on a recommendation is close


@dataclass(frozen=True)
class Calibration:
    """A function that rises from one score to the next, linear between them."""

    scores: list[float]  # ascending
    probabilities: list[float]  # ascending

    def probabilities_of(self, scores: np.ndarray) -> np.ndarray:
        """Return the probability of each of the scores, of any shape."""
        return np.interp(scores, self.scores, self.probabilities)


def fit_calibration(scores: np.ndarray, good: np.ndarray) -> Calibration | None:
    """Fit the share of good recommendations to their scores `(n,)`, by isotonic regression.

    https://scikit-learn.org/stable/modules/isotonic.html. `good` is `(n,) bool`. None if there are too few.
    """
    from sklearn.isotonic import IsotonicRegression  # takes a second, and questions need only its result

    finite = np.isfinite(scores)
    if finite.sum() < MIN_PAIRS:
        return None
    fitted = IsotonicRegression(y_min=0, y_max=1).fit(scores[finite].astype(float), good[finite].astype(float))
    return Calibration(scores=fitted.X_thresholds_.tolist(), probabilities=fitted.y_thresholds_.tolist())


def is_close(probability: Any, is_shared: Any) -> Any:
    """Return whether recommendations are close: probably good, or listings that share a photo or the title.

    Both arguments are numbers, or arrays of one shape.
    """
    return (probability >= CLOSE_PROBABILITY) | is_shared
