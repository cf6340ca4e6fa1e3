"""CSV files for people, who open them in spreadsheets: no cell begins a formula."""

from pathlib import Path

import pandas as pd

from marketplace.common.files import escape_formula, replacing, unescape_formula


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table, with the texts that would be formulas escaped."""
    escaped = table.map(lambda cell: escape_formula(cell) if isinstance(cell, str) else cell)
    with replacing(path) as part:
        escaped.to_csv(part, index=False, lineterminator="\n")


def read_csv(path: Path, texts: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read a table that `write_csv` wrote. Of the columns `texts`, numbers stay texts too, such as the id 007."""
    table = pd.read_csv(path, keep_default_na=False, dtype=dict.fromkeys(texts, str))
    return table.map(lambda cell: unescape_formula(cell) if isinstance(cell, str) else cell)
