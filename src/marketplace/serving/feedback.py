"""Ratings given on the page, in a local SQLite file; how far recommendations agree with them; their export."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from marketplace.common.errors import MarketplaceError, UnavailableError
from marketplace.relevance.judgements import EXAMPLES, JUDGEMENTS, Grades, add_grades
from marketplace.serving.preferences import Better, ComparedTables, Preferences

FEEDBACK = "feedback.sqlite"  # in the repository's root; Git ignores it
NO_RATINGS = "no ratings yet: rate recommendations in `marketplace serve`."
THUMB_GRADES = {True: 2, False: 0}
READ_SECONDS = 0.1  # to wait for the lock of another process: a page does without thumbs rather than wait
WRITE_SECONDS = 0.5  # likewise, to store a rating
# The primary result codes of a file with which nothing is wrong: https://sqlite.org/rescode.html
TEMPORARY = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}
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
_PREFERENCES = """
CREATE TABLE IF NOT EXISTS preferences (
    product_id TEXT NOT NULL,
    before_table TEXT NOT NULL,
    now_table TEXT NOT NULL,
    revision TEXT NOT NULL,
    better TEXT NOT NULL,
    at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (product_id, before_table, now_table)
)
"""
_TABLES = {"feedback": _THUMBS, "judgements": _JUDGEMENTS, "preferences": _PREFERENCES}


@dataclass(frozen=True)
class Thumb:
    """A user's opinion of a recommendation."""

    product_id: str
    similar_product_id: str
    good: bool


@dataclass(frozen=True)
class Verdict:
    """Which of two lists for a product somebody found better."""

    product_id: str
    tables: ComparedTables
    revision: str  # the name of the revision before
    better: Better


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
    """The thumbs, grades and verdicts in a file, which is created with the first of them.

    Readers do not wait for a writer (https://sqlite.org/wal.html). Raises UnavailableError if the file is locked,
    cannot be written or has no space, and MarketplaceError if it is not a file of ratings.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = threading.Lock()  # threads that wait for each other in SQLite may wait for too long

    def give(self, product_id: str, similar_product_id: str, good: bool | None) -> None:
        """Store a thumb in place of an earlier one on the same recommendation; None removes it."""
        with self._write() as connection:
            if good is None:
                delete = "DELETE FROM feedback WHERE product_id = ? AND similar_product_id = ?"
                connection.execute(delete, (product_id, similar_product_id))
            else:
                insert = "INSERT OR REPLACE INTO feedback (product_id, similar_product_id, good) VALUES (?, ?, ?)"
                connection.execute(insert, (product_id, similar_product_id, int(good)))

    def thumbs(self, product_id: str | None = None) -> list[Thumb]:
        """Return all thumbs, or only the thumbs on the recommendations for a product."""
        with self._read() as connection:
            select = "SELECT product_id, similar_product_id, good FROM feedback WHERE ? IS NULL OR product_id = ?"
            rows = connection.execute(f"{select} ORDER BY 1, 2", (product_id, product_id))
            return [
                Thumb(product_id=product, similar_product_id=similar_product, good=bool(good))
                for product, similar_product, good in rows
            ]

    def give_grade(self, product_id: str, similar_product_id: str, grade: int) -> None:
        """Store a grade (see relevance/judgements.py) in place of an earlier one of the same pair."""
        with self._write() as connection:
            insert = "INSERT OR REPLACE INTO judgements (product_id, similar_product_id, grade) VALUES (?, ?, ?)"
            connection.execute(insert, (product_id, similar_product_id, grade))

    def grades(self) -> Grades:
        """Return the grades of all pairs."""
        with self._read() as connection:
            rows = connection.execute("SELECT product_id, similar_product_id, grade FROM judgements ORDER BY 1, 2")
            return {(product_id, similar_id): grade for product_id, similar_id, grade in rows}

    def give_verdict(self, verdict: Verdict) -> None:
        """Store a verdict on two lists in place of an earlier one on the same lists."""
        with self._write() as connection:
            columns = "(product_id, before_table, now_table, revision, better)"
            values = (
                verdict.product_id,
                verdict.tables.before,
                verdict.tables.now,
                verdict.revision,
                verdict.better,
            )
            connection.execute(f"INSERT OR REPLACE INTO preferences {columns} VALUES (?, ?, ?, ?, ?)", values)

    def verdicts(self) -> list[Verdict]:
        """Return all verdicts, the oldest first."""
        with self._read() as connection:
            select = "SELECT product_id, before_table, now_table, revision, better FROM preferences ORDER BY at"
            return [
                Verdict(
                    product_id=product_id,
                    tables=ComparedTables(before=before, now=now),
                    revision=revision,
                    better=better,
                )
                for product_id, before, now, revision, better in connection.execute(select)
            ]

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """Open the file for a transaction; create it if there is none."""
        with self._writing, self._report_failures():
            connection = sqlite3.connect(self._path, timeout=WRITE_SECONDS, isolation_level="IMMEDIATE")
            with contextlib.closing(connection):
                connection.execute("PRAGMA journal_mode = WAL")
                with connection:  # a transaction
                    for statement in _TABLES.values():
                        connection.execute(statement)
                    yield connection

    @contextlib.contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        """Open the file to read; without a file, an empty database."""
        with self._report_failures():
            exists = self._path.exists()
            address = f"{self._path.absolute().as_uri()}?mode=rw" if exists else ":memory:"
            with contextlib.closing(sqlite3.connect(address, timeout=READ_SECONDS, uri=True)) as connection:
                tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
                for name, statement in _TABLES.items():
                    if name not in tables:  # an earlier version had only thumbs
                        connection.execute(statement.replace("TABLE", "TEMPORARY TABLE", 1))
                yield connection

    @contextlib.contextmanager
    def _report_failures(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in TEMPORARY:
                raise UnavailableError(
                    f"{self._path} cannot be used at the moment ({error}): try again, and check that nothing keeps it "
                    "locked, that it and its folder may be written, and that the disk has space.",
                    public="ratings cannot be read or stored at the moment.",
                ) from None
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


def describe_verdicts(verdicts: Sequence[Verdict], now: str | None) -> list[str]:
    """Return a sentence for each table that the current one was compared with; `now` is the hash of the current one.

    Verdicts on other tables are only counted: they say nothing about the current one.
    """
    by_table: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.tables.now == now:
            by_table.setdefault(verdict.tables.before, []).append(verdict)
    sentences = [
        Preferences.count(verdict.better for verdict in group).describe(group[-1].revision)
        for group in by_table.values()
    ]
    n_others = len(verdicts) - sum(map(len, by_table.values()))
    if n_others:
        verdicts_are = "1 verdict is" if n_others == 1 else f"{n_others} verdicts are"
        sentences.append(f"{verdicts_are} on other recommendations than the current ones")
    return sentences


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
