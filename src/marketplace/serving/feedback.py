"""Thumbs up and down on recommendations: kept in a local SQLite file, and compared with what is recommended."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from marketplace.common.errors import MarketplaceError

FEEDBACK = "feedback.sqlite"  # in the repository's root; Git ignores it
_TABLE = """
CREATE TABLE IF NOT EXISTS feedback (
    product_id TEXT NOT NULL,
    similar_product_id TEXT NOT NULL,
    good INTEGER NOT NULL,
    at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (product_id, similar_product_id)
)
"""
SECONDS = 10.0  # to wait for another program that writes


class Thumb(NamedTuple):
    """What somebody thinks of a recommendation."""

    product_id: str
    similar_product_id: str
    good: bool


class Agreement(NamedTuple):
    """How far a table of recommendations agrees with the thumbs about products that it has."""

    good: int  # thumbs up
    good_kept: int  # … on what the table recommends
    bad: int  # thumbs down
    bad_gone: int  # … on what it does not recommend

    @property
    def share(self) -> float:
        """The share of thumbs that the table agrees with; NaN without any."""
        n = self.good + self.bad
        return (self.good_kept + self.bad_gone) / n if n else float("nan")


class Feedback:
    """The thumbs in a file, which is created with the first of them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def give(self, product_id: str, similar_product_id: str, good: bool | None) -> None:
        """Keep a thumb; a later one on the same recommendation takes its place, and None takes it away."""
        with self._opened() as connection:
            if good is None:
                where = "DELETE FROM feedback WHERE product_id = ? AND similar_product_id = ?"
                connection.execute(where, (product_id, similar_product_id))
            else:
                insert = "INSERT OR REPLACE INTO feedback (product_id, similar_product_id, good) VALUES (?, ?, ?)"
                connection.execute(insert, (product_id, similar_product_id, int(good)))

    def thumbs(self, product_id: str | None = None) -> list[Thumb]:
        """All thumbs, or those on the recommendations for a product."""
        if not self._path.exists():
            return []
        with self._opened() as connection:
            select = "SELECT product_id, similar_product_id, good FROM feedback WHERE ? IS NULL OR product_id = ?"
            rows = connection.execute(f"{select} ORDER BY 1, 2", (product_id, product_id))
            return [Thumb(product, similar, bool(good)) for product, similar, good in rows]

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self._path, timeout=SECONDS)
            try:
                with connection:  # a transaction
                    connection.execute(_TABLE)
                    yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise MarketplaceError(f"{self._path} cannot be used ({error}): move it away to begin anew.") from None


def agreement(thumbs: Sequence[Thumb], similar: Mapping[str, Sequence[str]]) -> Agreement:
    """How far recommendations agree with thumbs. `similar` has the recommended products of every product."""
    known = [thumb for thumb in thumbs if thumb.product_id in similar]
    listed = [thumb.similar_product_id in similar[thumb.product_id] for thumb in known]
    pairs = list(zip(known, listed, strict=True))
    return Agreement(
        good=sum(thumb.good for thumb in known),
        good_kept=sum(thumb.good and there for thumb, there in pairs),
        bad=sum(not thumb.good for thumb in known),
        bad_gone=sum(not thumb.good and not there for thumb, there in pairs),
    )
