"""Judgements of similar products and of search results, as people gave them.

`data/judgements.csv` has product_id, similar_product_id and grade; `data/searches.csv` has query, product_id and grade.
Grades: 2, the same kind of thing and a real alternative; 1, related and tolerable; 0, not similar. Further columns are
ignored. Git tracks both files. With their header lines alone, everything works without judgements.
"""

import csv
import hashlib
import io
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import escape_formula, replacing, unescape_formula

log = logging.getLogger(__name__)

JUDGEMENTS = "data/judgements.csv"
SEARCHES = "data/searches.csv"
PRODUCT_COLUMNS = ("product_id", "similar_product_id", "grade")
SEARCH_COLUMNS = ("query", "product_id", "grade")
GRADES = (0, 1, 2)
EXAMPLES = 3  # shown in a message

Grades = dict[tuple[str, str], int]  # of a product and a candidate


@dataclass(frozen=True)
class Judgements:
    """Graded candidates of several questions, a row for each pair, ordered by question and candidate."""

    questions: np.ndarray  # (J,) str: a product's id, or the words of a search
    candidates: np.ndarray  # (J,) str, ids of products
    grades: np.ndarray  # (J,) int, 0 to 2

    def __len__(self) -> int:
        return len(self.grades)

    def select(self, chosen: np.ndarray) -> "Judgements":
        """Return the judgements in a mask `(J,) bool`."""
        return Judgements(
            questions=self.questions[chosen], candidates=self.candidates[chosen], grades=self.grades[chosen]
        )


@dataclass(frozen=True)
class Addition:
    """The result of adding grades to a file of judgements."""

    added: int
    judged_before: int  # pairs that the file already had; their grades stay
    conflicts: dict[tuple[str, str], tuple[int, int]]  # among them, pairs whose grades differ: in the file, given


def read_judgements(path: Path, columns: tuple[str, str, str], known_products: Iterable[str]) -> Judgements:
    """Read and check a file of judgements; leave out pairs with products that are not in the catalogue, with a line.

    Raises MarketplaceError if the file is missing, has other columns, a grade that is none, or two grades for a pair.
    """
    question, candidate, grade = columns
    table = _read_checked(path, columns)
    known = set(known_products)
    is_known = table[candidate].isin(known)
    if question == "product_id":
        is_known &= table[question].isin(known)
    if not is_known.all():
        log.info("%s: %d of %d judgements are about other catalogues", path, int((~is_known).sum()), len(table))
    table = table[is_known].sort_values([question, candidate])
    return Judgements(
        questions=table[question].to_numpy(str),
        candidates=table[candidate].to_numpy(str),
        grades=table[grade].to_numpy(int),
    )


def read_grades(path: Path) -> Grades:
    """Read the grades of all pairs of products in a file, of any catalogue.

    Raises MarketplaceError like `read_judgements`.
    """
    table = _read_checked(path, PRODUCT_COLUMNS)
    return {(product_id, similar_id): grade for product_id, similar_id, grade in table.itertuples(index=False)}


def add_grades(path: Path, grades: Grades) -> Addition:
    """Append the grades of pairs that a file of judgements does not have yet; its present content stays as it is.

    Raises MarketplaceError like `read_judgements`, and then leaves the file as it was.
    """
    present = read_grades(path)
    new = {pair: grade for pair, grade in grades.items() if pair not in present}
    conflicts = {pair: (present[pair], grade) for pair, grade in grades.items() if present.get(pair, grade) != grade}
    if new:
        _append(path, new)
    return Addition(added=len(new), judged_before=len(grades) - len(new), conflicts=conflicts)


def split_of_search(query: str) -> str:
    """Return the split of a search, val or test, by its words alone: a hash, so that new searches move no others."""
    first_digit = hashlib.sha256(query.encode()).hexdigest()[0]
    return "val" if int(first_digit, 16) % 2 == 0 else "test"


def _append(path: Path, grades: Grades) -> None:
    """Append rows in the file's own order of columns; further columns stay empty."""
    content = path.read_bytes()
    line_end = "\r\n" if b"\r\n" in content else "\n"
    columns = pd.read_csv(path, dtype=str, nrows=0).columns
    rows = io.StringIO()
    if not content.endswith(b"\n"):
        rows.write(line_end)
    writer = csv.DictWriter(rows, columns, lineterminator=line_end)
    for (product_id, similar_id), grade in grades.items():
        ids = {"product_id": escape_formula(product_id), "similar_product_id": escape_formula(similar_id)}
        writer.writerow({**ids, "grade": grade})
    with replacing(path) as part:
        part.write_bytes(content + rows.getvalue().encode())


def _read_checked(path: Path, columns: tuple[str, str, str]) -> pd.DataFrame:
    """Return the columns of a file, with numbers as grades and each pair once."""
    question, candidate, grade = columns
    table = _read_table(path, columns)
    table[grade] = _check_grades(path, table[grade])
    table = table.drop_duplicates()
    _check_pairs(path, table, [question, candidate])
    return table


def _read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise MarketplaceError(
            f"{path} is missing: restore it with `git checkout {path}`, or write its header line, {','.join(columns)}."
        ) from None
    except (ValueError, UnicodeDecodeError) as error:  # pandas' own errors are ValueErrors
        why = str(error).partition("\n")[0]
        raise MarketplaceError(
            f"{path} is not a table of judgements ({why}): its columns are {_join(columns)}."
        ) from None
    missing = [name for name in columns if name not in table]
    if missing:
        raise MarketplaceError(
            f"{path} has no column {_join(missing)}: its columns must be {_join(columns)}, and it has "
            f"{_join(table.columns)}."
        )
    return table[list(columns)].map(unescape_formula)


def _check_grades(path: Path, grades: "pd.Series[str]") -> "pd.Series[int]":
    allowed = [str(grade) for grade in GRADES]
    stripped = grades.str.strip()
    wrong = stripped[~stripped.isin(allowed)]
    if len(wrong):
        raise MarketplaceError(
            f"{path}: {len(wrong)} grades are not {', '.join(allowed[:-1])} or {allowed[-1]}, such as "
            f"{wrong.iloc[0]!r} in line {int(wrong.index[0]) + 2}."
        )
    return stripped.astype(int)


def _check_pairs(path: Path, table: pd.DataFrame, pair: list[str]) -> None:
    repeated = table[table.duplicated(pair)]
    if len(repeated):
        examples = "; ".join(" and ".join(row) for row in repeated[pair].head(EXAMPLES).to_numpy(str).tolist())
        raise MarketplaceError(
            f"{path}: {len(repeated)} pairs have two different grades ({examples}): keep one row of each."
        )


def _join(names: Iterable[str]) -> str:
    return ", ".join(names)
