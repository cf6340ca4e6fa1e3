"""The file of corrections: mistakes that people found in the dump's products.

`data/corrections.csv` has product_id and correction: a category that a listing has, as the data report writes it, or
`drop` to leave the product out. A product's own category says that it is right. Further columns are ignored. Git tracks
the file; with its header line alone, nothing is corrected.
"""

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import unescape_formula
from marketplace.raw.tables import tidy_id
from marketplace.raw.text_files import decode_text

CORRECTIONS = "data/corrections.csv"
COLUMNS = ("product_id", "correction")
DELIMITERS = ",;\t"  # of spreadsheets
DROP = "drop"


@dataclass(frozen=True)
class Correction:
    """A line of the file."""

    product_id: str
    text: str  # a category, or DROP
    line: int  # in the file, from 1

    @property
    def drops(self) -> bool:
        """Whether the product is to be left out."""
        return self.text.casefold() == DROP


def read_corrections(path: Path) -> list[Correction]:
    """Read and check the file; a product is in the result once.

    Raises MarketplaceError if the file is missing, has other columns, a line without an id or a correction, or two
    corrections of one product.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise MarketplaceError(
            f"{path} is missing: restore it with `git checkout {path}`, or write its header line, {','.join(COLUMNS)}."
        ) from None
    lines = decode_text(content, str(path)).split("\n")
    delimiter = max(DELIMITERS, key=lines[0].count)
    reader = csv.DictReader(lines, delimiter=delimiter)
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
    if missing:
        raise MarketplaceError(
            f"{path} has no column {', '.join(missing)}: its first line must be {','.join(COLUMNS)}, and it is "
            f"{lines[0][:100]!r}."
        )
    corrections = [_parse_row(path, row, reader.line_num) for row in reader]
    _check_conflicts(path, corrections)
    return list({correction.product_id: correction for correction in corrections}.values())


def _parse_row(path: Path, row: dict[str, str | None], line: int) -> Correction:
    if None in row:
        raise MarketplaceError(
            f"{path}, line {line}: there are more fields than the header has. A category with a comma needs double "
            "quotes around it."
        )
    product_id, text = (unescape_formula((row[name] or "").strip()) for name in COLUMNS)
    if not product_id or not text:
        raise MarketplaceError(
            f"{path}, line {line}: {'a product_id' if not product_id else 'a correction'} is missing. A line is an id, "
            f"then a category or {DROP}."
        )
    return Correction(product_id=tidy_id(product_id), text=text, line=line)


def _check_conflicts(path: Path, corrections: list[Correction]) -> None:
    by_product = defaultdict(list)
    for correction in corrections:
        by_product[correction.product_id].append(correction)
    for product_id, own in by_product.items():
        others = [correction for correction in own if correction.text.casefold() != own[0].text.casefold()]
        if others:
            raise MarketplaceError(
                f"{path} corrects {product_id!r} in two ways: {own[0].text!r} in line {own[0].line} and "
                f"{others[0].text!r} in line {others[0].line}. Keep one of them."
            )
