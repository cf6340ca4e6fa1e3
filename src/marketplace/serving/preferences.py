"""Which of two lists of recommendations people find better, and whether that may be chance."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import comb
from typing import Literal

Better = Literal["now", "before", "equal"]


@dataclass(frozen=True)
class ComparedTables:
    """Two tables of recommendations, by their hashes: verdicts on them say nothing about other tables."""

    before: str
    now: str


@dataclass(frozen=True)
class Preferences:
    """How often the current lists are better, how often the lists of the other revision, and how often neither.

    `p` is the probability of a difference at least this large if both were equally good: the two-sided sign test.
    It does not count equal lists, and is 1 without verdicts.
    """

    now: int
    before: int
    equal: int
    p: float

    @classmethod
    def count(cls, verdicts: Iterable[Better]) -> "Preferences":
        """Count verdicts, one for each product."""
        counts = Counter(verdicts)
        now = counts["now"]
        before = counts["before"]
        return cls(now=now, before=before, equal=counts["equal"], p=sign_test(now, before))

    @property
    def n(self) -> int:
        """The number of verdicts."""
        return self.now + self.before + self.equal

    def describe(self, revision: str) -> str:
        """Return a sentence; `revision` is the name of the other one.

        >>> Preferences.count(["now"] * 14 + ["before"] * 5 + ["equal"] * 3).describe("main")
        'current preferred 14 times, main 5, equal 3; p = 0.064'
        >>> Preferences.count(["before"]).describe("main")
        'current preferred 0 times, main 1, equal 0; p = 1'
        """
        times = "once" if self.now == 1 else f"{self.now} times"
        p = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.2g}"
        return f"current preferred {times}, {revision} {self.before}, equal {self.equal}; {p}"


def sign_test(wins: int, losses: int) -> float:
    """Return the p-value of the two-sided exact binomial test of equal chances, 1 without wins and losses.

    SciPy's `binomtest` does the same, but importing it takes a second.
    """
    n = wins + losses
    tail = sum(comb(n, k) for k in range(min(wins, losses) + 1))
    return min(1.0, 2 * tail / 2**n)
