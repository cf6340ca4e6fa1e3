"""CSV files for people: no cell begins a formula, and every value comes back as it was."""

import csv
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from marketplace.common.files import escape_formula, unescape_formula
from marketplace.raw.csv_files import read_csv, write_csv

FORMULAS = ["=1+1", "+44 1", "-x", "@SUM(A1)", "\t=1", " =1", "＝1", "＠x", "=cmd|'/C calc'!A0", "'=1", "''-x"]
TEXTS = ["", "a=1", "'t Gooi", "007", "NA", '"q", x', "'", "a\nb"]


def test_no_cell_begins_a_formula_and_all_values_come_back(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": [*FORMULAS, *TEXTS], "distance": range(len(FORMULAS) + len(TEXTS))})
    write_csv(tmp_path / "table.csv", table)
    with (tmp_path / "table.csv").open(newline="") as file:
        cells = [row[0] for row in csv.reader(file)][1:]
    assert not [cell for cell in cells if cell.strip("\t\r\n ")[:1] in tuple("=+-@＝＋－＠")]
    assert cells[len(FORMULAS) :] == TEXTS
    read = read_csv(tmp_path / "table.csv", texts=("id",))
    assert read["id"].tolist() == table["id"].tolist()
    assert read["distance"].tolist() == table["distance"].tolist()


@given(st.text(alphabet="'=+-@\t\r\n a1", max_size=6))
@example("''=")
def test_escaping_loses_nothing(text: str) -> None:
    assert unescape_formula(escape_formula(text)) == text


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_was_never_escaped_stays(text: str) -> None:
    if not text.startswith("'"):
        assert unescape_formula(text) == text
