"""The dump's two tables, as they arrive: every field as text."""

import csv
import re
import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from marketplace.common.errors import MarketplaceError
from marketplace.raw.text_files import decoded

COLUMNS = {
    "products.csv": ("id", "product_name", "category", "product_description", "price", "location"),
    "images.csv": ("id", "product_id"),
}
IDS = ("id", "product_id")
DELIMITERS = ",;\t|:^~"
LONGEST_FIELD = 2**20  # characters; beyond it, a quotation mark was never closed
_SEP = re.compile(r'"?sep=(.)"?\n')  # Excel's own first line
_CR = "\0"  # stands for a bare carriage return, which the csv module would take for the end of a row


class Table(NamedTuple):
    """The rows of a table, and the numbers of those that could not be read."""

    rows: pd.DataFrame  # every field as text; the index is the number of the row in the file, whose header is row 1
    malformed: list[int]  # rows with more or fewer fields than the header, or with broken quotation marks


def read_table(content: bytes, name: str) -> Table:
    """Read a dump's table. A bare `\\r` ends no row if `\\n` does: descriptions contain it.

    The delimiter is whichever of DELIMITERS gives the columns. Ids lose the white space around them, and are in
    Unicode's normal form C.

    Raises MarketplaceError if the file is not text, lacks a column or has no rows.
    """
    text = decoded(content, name)
    sep = _SEP.match(text)
    lines = text[sep.end() if sep else 0 :].replace("\r", _CR).rstrip("\n").split("\n")
    if not lines[0]:
        raise MarketplaceError(f"{name} is empty: it does not even have a header.")
    delimiter, header = _header(lines[0], COLUMNS[name], sep[1] if sep else DELIMITERS)
    for column in COLUMNS[name]:
        if header.count(column) != 1:
            problem = "has two columns" if column in header else "lacks the column"
            raise MarketplaceError(f"{name} {problem} {column!r}; it has: {_bounded(header)}.")
    rows: dict[int, list[str]] = {}
    malformed = []
    for number, row in _records(lines, delimiter, len(header)):
        if row is None:
            malformed.append(number)
        else:
            rows[number] = [field.replace(_CR, "\r") for field in row]
    if not rows:
        why = f"none of its {len(malformed)} rows has the same number of fields" if malformed else "no rows"
        raise MarketplaceError(f"{name} has a header but {why}.")
    table = pd.DataFrame.from_dict(rows, orient="index", columns=header, dtype=str)
    for column in sorted(set(IDS) & set(header)):
        table[column] = [tidy_id(value) for value in table[column]]
    return Table(table, malformed)


def tidy_id(text: str) -> str:
    """An id as it is compared: without white space around it, in Unicode's normal form C."""
    return unicodedata.normalize("NFC", text.strip())


def _header(line: str, wanted: tuple[str, ...], delimiters: str) -> tuple[str, list[str]]:
    """The delimiter that gives most of the wanted columns, and the columns that it gives."""
    found = {}
    for delimiter in delimiters:
        fields = next(csv.reader([line.replace(_CR, " ")], delimiter=delimiter), [])
        found[delimiter] = [field.strip() for field in fields]
    best = max(found, key=lambda delimiter: len(set(found[delimiter]) & set(wanted)))
    return best, found[best]


def _records(lines: list[str], delimiter: str, width: int) -> Iterator[tuple[int, list[str] | None]]:
    """(number, fields) of every row after the header; None for a row that cannot be read.

    A quotation mark that is never closed would swallow the rows after it: if a row of several lines cannot be read,
    only its first line is given up, and reading goes on with the next. Blank lines are counted, and left out.
    """
    csv.field_size_limit(LONGEST_FIELD)
    number, start = 1, 1
    while start < len(lines):
        reader = csv.reader((f"{line}\n" for line in lines[start:]), delimiter=delimiter, strict=True)
        while True:
            begin = start + reader.line_num
            number += 1
            row = _next_record(reader, width)
            if row is None or begin == len(lines):
                break
            if row:
                yield number, row
        if begin == len(lines):
            return
        yield number, None
        start = begin + 1


def _next_record(reader: Any, width: int) -> list[str] | None:
    """The next row's fields; none of them for a blank line, or at the end. None if it cannot be read."""
    try:
        row: list[str] = next(reader, [])
    except csv.Error:
        return None
    while len(row) > width and not row[-1]:
        row.pop()  # a trailing delimiter shifts nothing
    return row if len(row) in (0, width) else None


def _bounded(columns: list[str]) -> str:
    text = ", ".join(columns)
    return text if len(text) <= 200 else f"{text[:200]}…"
