"""The dump's two tables as they arrive, with every field as text."""

import csv
import re
import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from marketplace.common.errors import MarketplaceError
from marketplace.raw.text_files import decode_text

COLUMNS = {
    "products.csv": ("id", "product_name", "category", "product_description", "price", "location"),
    "images.csv": ("id", "product_id"),
}
ID_COLUMNS = ("id", "product_id")
DELIMITERS = ",;\t|:^~"
MAX_FIELD_LENGTH = 2**20  # characters; in a longer field, a quotation mark was never closed
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\n')  # which Excel writes first
_CARRIAGE_RETURN = "\0"  # stands for a bare one, which the csv module would take for the end of a row


class Table(NamedTuple):
    """The rows of a table, and the numbers of its unreadable rows. The header is row 1 of the file."""

    rows: pd.DataFrame  # every field as text; the index is the number of the row
    malformed: list[int]  # rows with more or fewer fields than the header, or with broken quotation marks


class _Header(NamedTuple):
    """The first row of a table."""

    delimiter: str
    columns: list[str]


class _Record(NamedTuple):
    """A later row of a table; its fields are None if it cannot be read."""

    number: int
    fields: list[str] | None


def read_table(content: bytes, name: str) -> Table:
    """Read a dump's table. A bare `\\r` ends no row if `\\n` does: descriptions contain it.

    The delimiter is the one of DELIMITERS that gives the columns. Ids lose the white space around them and are put into
    Unicode's normal form C.

    Raises MarketplaceError if the file is not text, lacks a column or has no rows.
    """
    text = decode_text(content, name)
    separator_line = _SEPARATOR_LINE.match(text)
    delimiters = DELIMITERS
    if separator_line is not None:
        delimiters = separator_line[1]
        text = text[separator_line.end() :]
    lines = text.replace("\r", _CARRIAGE_RETURN).rstrip("\n").split("\n")
    if not lines[0]:
        raise MarketplaceError(f"{name} is empty: it does not even have a header.")
    header = _read_header(lines[0], COLUMNS[name], delimiters)
    _check_columns(header.columns, name)
    rows: dict[int, list[str]] = {}
    malformed = []
    for record in _read_records(lines, header.delimiter, len(header.columns)):
        if record.fields is None:
            malformed.append(record.number)
        else:
            rows[record.number] = [field.replace(_CARRIAGE_RETURN, "\r") for field in record.fields]
    if not rows:
        problem = f"none of its {len(malformed)} rows has the same number of fields" if malformed else "no rows"
        raise MarketplaceError(f"{name} has a header but {problem}.")
    table = pd.DataFrame.from_dict(rows, orient="index", columns=header.columns, dtype=str)
    for column in sorted(set(ID_COLUMNS) & set(header.columns)):
        table[column] = [tidy_id(value) for value in table[column]]
    return Table(rows=table, malformed=malformed)


def tidy_id(text: str) -> str:
    """Return an id as ids are compared: without white space around it, in Unicode's normal form C."""
    return unicodedata.normalize("NFC", text.strip())


def _read_header(line: str, required_columns: tuple[str, ...], delimiters: str) -> _Header:
    """Read the header with the delimiter that gives most of the required columns."""
    headers = []
    for delimiter in delimiters:
        fields = next(csv.reader([line.replace(_CARRIAGE_RETURN, " ")], delimiter=delimiter), [])
        headers.append(_Header(delimiter=delimiter, columns=[field.strip() for field in fields]))
    return max(headers, key=lambda header: len(set(header.columns) & set(required_columns)))


def _check_columns(columns: list[str], name: str) -> None:
    for required in COLUMNS[name]:
        if columns.count(required) != 1:
            problem = "has two columns" if required in columns else "lacks the column"
            raise MarketplaceError(f"{name} {problem} {required!r}; it has: {_shorten(', '.join(columns))}.")


def _read_records(lines: list[str], delimiter: str, width: int) -> Iterator[_Record]:
    """Yield every row after the header.

    A quotation mark that is never closed would swallow the rows after it. So when a row of several lines cannot be
    read, only its first line is given up, and reading continues with the next line. Blank lines count as rows, and are
    left out.
    """
    csv.field_size_limit(MAX_FIELD_LENGTH)
    number = 1
    start = 1
    while start < len(lines):
        reader = csv.reader((f"{line}\n" for line in lines[start:]), delimiter=delimiter, strict=True)
        while True:
            begin = start + reader.line_num
            number += 1
            fields = _next_fields(reader, width)
            if fields is None or begin == len(lines):
                break
            if fields:
                yield _Record(number=number, fields=fields)
        if begin == len(lines):
            return
        yield _Record(number=number, fields=None)
        start = begin + 1


def _next_fields(reader: Any, width: int) -> list[str] | None:
    """Return the fields of the next row: no fields for a blank line or at the end, None if it cannot be read."""
    try:
        fields: list[str] = next(reader, [])
    except csv.Error:
        return None
    while len(fields) > width and not fields[-1]:
        fields.pop()  # a trailing delimiter shifts nothing
    return fields if len(fields) in (0, width) else None


def _shorten(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"
