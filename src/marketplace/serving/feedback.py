"""Ratings given on the page, in a local SQLite file; how far recommendations agree with them; their export."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from marketplace.common.errors import MarketplaceError
from marketplace.relevance.judgements import EXAMPLES, JUDGEMENTS, Grades, add_grades

FEEDBACK = "feedback.sqlite"  # in the repository's root; Git ignores it
NO_RATINGS = "no ratings yet: rate recommendations in `marketplace serve`."
THUMB_GRADES = {True: 2, False: 0}
LOCK_SECONDS = 10.0  # to wait for another process that writes
_THUMBS = """
CREATE TABLE IF NOT EXISTS feedback (
    product_id TEXT NOT NULL,
    similar_product_id TEXT NOT NULL,
    good INTEGER NOT NULL,
    at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (product_id, similar_product_id)
)
"""
_JUDGEMENTS = """
CREATE TABLE IF NOT EXISTS judgements (
    product_id TEXT NOT NULL,
    similar_product_id TEXT NOT NULL,
    grade INTEGER NOT NULL,
    at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (product_id, similar_product_id)
)
"""


@dataclass(frozen=True)
class Thumb:
    """A user's opinion of a recommendation."""

    product_id: str
    similar_product_id: str
    good: bool


@dataclass(frozen=True)
class Agreement:
    """How far a table of recommendations agrees with thumbs; only thumbs on products in the table count."""

    thumbs_up: int
    thumbs_up_listed: int  # thumbs up on products that the table recommends
    thumbs_down: int
    thumbs_down_not_listed: int  # thumbs down on products that the table does not recommend

    @property
    def share(self) -> float:
        """The share of thumbs that the table agrees with; NaN without thumbs."""
        n = self.thumbs_up + self.thumbs_down
        return (self.thumbs_up_listed + self.thumbs_down_not_listed) / n if n else float("nan")


class Feedback:
    """The thumbs and grades in a file, which is created with the first of them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def give(self, product_id: str, similar_product_id: str, good: bool | None) -> None:
        """Store a thumb in place of an earlier one on the same recommendation; None removes it."""
        with self._connect() as connection:
            if good is None:
                delete = "DELETE FROM feedback WHERE product_id = ? AND similar_product_id = ?"
                connection.execute(delete, (product_id, similar_product_id))
            else:
                insert = "INSERT OR REPLACE INTO feedback (product_id, similar_product_id, good) VALUES (?, ?, ?)"
                connection.execute(insert, (product_id, similar_product_id, int(good)))

    def thumbs(self, product_id: str | None = None) -> list[Thumb]:
        """Return all thumbs, or only the thumbs on the recommendations for a product."""
        if not self._path.exists():
            return []
        with self._connect() as connection:
            select = "SELECT product_id, similar_product_id, good FROM feedback WHERE ? IS NULL OR product_id = ?"
            rows = connection.execute(f"{select} ORDER BY 1, 2", (product_id, product_id))
            return [
                Thumb(product_id=product, similar_product_id=similar_product, good=bool(good))
                for product, similar_product, good in rows
            ]

    def give_grade(self, product_id: str, similar_product_id: str, grade: int) -> None:
        """Store a grade (see relevance/judgements.py) in place of an earlier one of the same pair."""
        with self._connect() as connection:
            insert = "INSERT OR REPLACE INTO judgements (product_id, similar_product_id, grade) VALUES (?, ?, ?)"
            connection.execute(insert, (product_id, similar_product_id, grade))

    def grades(self) -> Grades:
        """Return the grades of all pairs."""
        if not self._path.exists():
            return {}
        with self._connect() as connection:
            rows = connection.execute("SELECT product_id, similar_product_id, grade FROM judgements ORDER BY 1, 2")
            return {(product_id, similar_id): grade for product_id, similar_id, grade in rows}

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self._path, timeout=LOCK_SECONDS)
            try:
                with connection:  # a transaction
                    connection.execute(_THUMBS)
                    connection.execute(_JUDGEMENTS)
                    yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise MarketplaceError(f"{self._path} cannot be used ({error}): move it away to start a new one.") from None


def export_grades(root: Path) -> str:
    """Add the page's grades and thumbs to data/judgements.csv; return a sentence about them.

    A pair with both has its grade. `root` is the repository's. Raises MarketplaceError if there are no ratings, or if
    the file is missing or malformed.
    """
    feedback = Feedback(root / FEEDBACK)
    thumbs = {(thumb.product_id, thumb.similar_product_id): THUMB_GRADES[thumb.good] for thumb in feedback.thumbs()}
    grades = thumbs | feedback.grades()
    if not grades:
        raise MarketplaceError(NO_RATINGS)
    addition = add_grades(root / JUDGEMENTS, grades)
    sentence = f"added {addition.added} judgements to {JUDGEMENTS}; {addition.judged_before} pairs were judged already"
    if addition.conflicts:
        examples = "; ".join(
            f"{product_id} and {similar_id} ({grade} in the file, {other_grade} on the page)"
            for (product_id, similar_id), (grade, other_grade) in list(addition.conflicts.items())[:EXAMPLES]
        )
        sentence += f", {len(addition.conflicts)} of them with another grade, which was kept: {examples}"
    return sentence


def measure_agreement(thumbs: Sequence[Thumb], recommended: Mapping[str, Sequence[str]]) -> Agreement:
    """Measure how far recommendations agree with thumbs. `recommended` has the recommended ids for each product id."""
    up_listed: list[bool] = []
    down_listed: list[bool] = []
    for thumb in thumbs:
        if thumb.product_id not in recommended:
            continue
        listed = thumb.similar_product_id in recommended[thumb.product_id]
        if thumb.good:
            up_listed.append(listed)
        else:
            down_listed.append(listed)
    return Agreement(
        thumbs_up=len(up_listed),
        thumbs_up_listed=sum(up_listed),
        thumbs_down=len(down_listed),
        thumbs_down_not_listed=len(down_listed) - sum(down_listed),
    )
