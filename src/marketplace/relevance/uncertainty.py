"""Intervals that say how far a figure depends on the questions or products that it was measured with.

All of them are percentile bootstraps: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95
MIN_SAMPLE = 10  # questions or products: an interval of fewer would tell nothing
TWO_SIDED_5_PERCENT = 1.96  # the standard normal quantile of 0.975
POWER_80_PERCENT = 0.84  # the standard normal quantile of 0.8
BLOCK = 2**24  # draws at once


def bootstrap_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the mean of `values` `(Q,)`, by resampling questions; NaN values are left out."""
    present = values[np.isfinite(values)]
    if not len(present):
        return float("nan"), float("nan")
    return interval_of(resample_totals(present[:, None], seed)[:, 0] / len(present))


@dataclass(frozen=True)
class Shares:
    """A metric that is the mean of values which belong to products: for each product, their sum and their number.

    Photos of one product are right or wrong together, so products are resampled, not values.
    """

    sums: np.ndarray  # (P,) float
    counts: np.ndarray  # (P,) int; 0 for a product without values

    @classmethod
    def of(cls, values: np.ndarray, products: np.ndarray, n_products: int) -> "Shares":
        """Return the shares of `values` `(V,)`, which belong to `products` `(V,) int`; NaN values are left out."""
        is_known = np.isfinite(values)
        return cls(
            sums=np.bincount(products[is_known], values[is_known], minlength=n_products),
            counts=np.bincount(products[is_known], minlength=n_products),
        )

    def mean(self) -> float:
        """Return the metric; NaN without values."""
        return float(self.sums.sum() / self.counts.sum()) if self.counts.any() else float("nan")

    def interval(self, seed: int = 0) -> tuple[float, float]:
        """Return the 95 % interval of the metric, by resampling products; NaN without values."""
        has_values = self.counts > 0
        if not has_values.any():
            return float("nan"), float("nan")
        totals = resample_totals(np.stack([self.sums, self.counts], axis=1)[has_values], seed)
        return interval_of(totals[:, 0] / totals[:, 1])

    def select(self, chosen: np.ndarray) -> "Shares":
        """Return the shares of some products, by a mask `(P,) bool` or by numbers."""
        return Shares(sums=self.sums[chosen], counts=self.counts[chosen])

    def summarise(self) -> dict[str, float]:
        """Return the metric, the ends of its interval, and the number of products; without values, that alone."""
        low, high = self.interval()
        figures = {"mean": self.mean(), "low": low, "high": high}
        known = {name: round(value, 5) for name, value in figures.items() if math.isfinite(value)}
        return known | {"products": int((self.counts > 0).sum())}


def compare_shares(base: Shares, head: Shares, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of a metric's change from `base` to `head`, which have the same products.

    The same products are drawn on both sides: the paired bootstrap. NaN unless both have values.
    """
    columns = np.stack([base.sums, base.counts, head.sums, head.counts], axis=1)
    columns = columns[(base.counts > 0) | (head.counts > 0)]
    if not (base.counts.any() and head.counts.any()):
        return float("nan"), float("nan")
    before, n_before, after, n_after = resample_totals(columns, seed).T
    is_drawn = (n_before > 0) & (n_after > 0)
    return interval_of((after / np.maximum(n_after, 1) - before / np.maximum(n_before, 1))[is_drawn])


def resample_totals(columns: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return totals `(RESAMPLES, C)` of `columns` `(P, C)`, each over P products drawn with replacement."""
    return np.concatenate([drawn @ columns for drawn in _draw_products(len(columns), seed)])


def _draw_products(n_products: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each product is drawn, `(B, P) float`, in RESAMPLES rows in all."""
    random = np.random.default_rng(seed)
    n_rows = max(1, min(RESAMPLES, BLOCK // n_products))
    for start in range(0, RESAMPLES, n_rows):
        rows = min(n_rows, RESAMPLES - start)
        draws = random.integers(n_products, size=(rows, n_products)) + n_products * np.arange(rows)[:, None]
        counts = np.bincount(draws.ravel(), minlength=rows * n_products)
        yield counts.reshape(rows, n_products).astype(float)


def interval_of(figures: np.ndarray) -> tuple[float, float]:
    """Return the ends of the middle 95 % of a figure's values in resamples, `(RESAMPLES,)`."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(figures, [tail, 1 - tail]).tolist()
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
