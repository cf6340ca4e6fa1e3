"""Tables and Markdown in a terminal, and tables for machines: JSON and CSV."""

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from marketplace.common.console import CONTROL_CHARACTERS, printable, table_console

if TYPE_CHECKING:  # imported where they are needed, so that `marketplace --help` is fast
    from rich.table import Table
    from rich.text import Text

GAP = 2  # columns between two of a table
ZERO_WIDTH_SPACE = "\N{ZERO WIDTH SPACE}"  # keeps GitHub from making links; see `escape`


def add_format_options(parser: argparse.ArgumentParser) -> None:
    """Add --json and --csv, which set `format`; None: a table for people."""
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--json", dest="format", action="store_const", const="json", help="print JSON, for programs")
    formats.add_argument("--csv", dest="format", action="store_const", const="csv", help="print CSV, for spreadsheets")


def short_name(metric: str) -> str:
    """Return a metric's name for people.

    >>> short_name("same_product_recall_at_10")
    'same product recall@10'
    """
    return metric.replace("_at_", "@").replace("_", " ")


def print_json(value: Any) -> None:
    """Print a value as JSON: decimals as texts, a number that is not finite as null, control characters as escapes."""
    finite = json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)
    text = json.dumps(finite, ensure_ascii=False, indent=2)
    sys.stdout.write(CONTROL_CHARACTERS.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n")


def print_csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as CSV, without control characters; a missing value is empty."""
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: printable(str(value)) for name, value in row.items() if value is not None})


def print_markdown(text: str) -> None:
    """Print Markdown: drawn in a terminal, as it is in a pipe or a file."""
    if not sys.stdout.isatty():
        sys.stdout.write(printable(text))
        return
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.markdown import Markdown, TableElement
    from rich.table import Table

    class WholeWords(TableElement):
        """A table that wraps texts of several words, so that it need not cut ids and figures."""

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            for table in super().__rich_console__(console, options):
                if isinstance(table, Table):
                    for column in table.columns:
                        column.no_wrap = not any(" " in str(cell) for cell in column.cells)
                        column.overflow = "fold"
                yield table

    class DrawnMarkdown(Markdown):
        elements = Markdown.elements | {"table_open": WholeWords}

    table_console().print(DrawnMarkdown(printable(text).replace(ZERO_WIDTH_SPACE, ""), hyperlinks=False))


def print_columns(headings: Sequence[str], rows: Mapping[str, Sequence["str | Text"]]) -> None:
    """Print a table of rows by name, below headings that may have several lines.

    Columns that do not fit next to each other follow below, with the names of the rows again.
    """
    console = table_console()
    for number, block in enumerate(_blocks(headings, rows, console.width)):
        if number:
            console.print()
        console.print(_table(headings, rows, block))


def _blocks(headings: Sequence[str], rows: Mapping[str, Sequence["str | Text"]], width: int) -> Iterator[list[int]]:
    """Yield the numbers of the columns that fit into a width, at least one at a time."""
    from rich.cells import cell_len

    names_width = max(map(cell_len, rows), default=0)
    block: list[int] = []
    used = names_width
    for number, heading in enumerate(headings):
        texts = [*heading.splitlines(), *(str(cells[number]) for cells in rows.values())]
        needed = GAP + max(map(cell_len, texts), default=0)
        if block and used + needed > width:
            yield block
            block = []
            used = names_width
        block.append(number)
        used += needed
    yield block


def _table(headings: Sequence[str], rows: Mapping[str, Sequence["str | Text"]], block: Sequence[int]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    table.add_column("", no_wrap=True)
    for number in block:
        table.add_column(Text(printable(headings[number])), justify="right", overflow="fold", vertical="bottom")
    for name, cells in rows.items():
        table.add_row(name, *(cells[number] for number in block))
    return table
