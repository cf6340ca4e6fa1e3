"""Tables as spreadsheets and exports write them: read, or refused in one sentence; a bad row costs only itself."""

import csv
import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.common.errors import MarketplaceError
from marketplace.raw.tables import DELIMITERS, read_table

HEADER = ",id,product_name,category,product_description,price,location\n"
IMAGES = "id,product_id\n"
FIELDS = st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=12
)


def read_products(*rows: str) -> pd.DataFrame:
    return read_table((HEADER + "".join(row + "\n" for row in rows)).encode(), "products.csv").rows


def write_rows(rows: list[tuple[str, str]], delimiter: str = ",", line_end: str = "\n") -> str:
    """Return images.csv as the standard library writes it."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=line_end).writerows([("id", "product_id"), *rows])
    return text.getvalue()


def read_ids(content: bytes | str) -> list[tuple[str, str]]:
    """Return the rows that are read from images.csv."""
    rows = read_table(content.encode() if isinstance(content, str) else content, "images.csv").rows
    return list(rows[["id", "product_id"]].itertuples(index=False, name=None))


def test_a_bare_carriage_return_ends_no_row() -> None:
    table = read_products(
        "0,a,Hat,Tops / Hat,Warm.\rCollection only,£1.00,Leeds", '1,b,Cap,Tops / Cap,"Two\nlines, quoted",£2.00,Hull'
    )
    assert table["id"].tolist() == ["a", "b"]
    assert table["product_description"].tolist() == ["Warm.\rCollection only", "Two\nlines, quoted"]


def test_words_that_look_like_missing_values_stay_words() -> None:
    row = read_products("0,a,NA,null / None,nan,£1.00,N/A").iloc[0].tolist()
    assert row[1:] == ["a", "NA", "null / None", "nan", "£1.00", "N/A"]


ROWS = [("é1", "Café, “A”"), ("b 2", 'two\nlines; "quoted" | all')]


@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_tables_of_spreadsheets_are_read(delimiter: str, line_end: str, encoding: str) -> None:
    if (line_end, encoding) == ("\r", "cp1252"):
        encoding = "mac-roman"  # programs that write such line ends use it
    assert read_ids(write_rows(ROWS, delimiter, line_end).encode(encoding)) == ROWS


@pytest.mark.parametrize("first", ["sep=,\n", '"sep=,"\n', "sep=;\r\n", "sep=\t\n"])
def test_the_first_line_that_excel_adds_is_understood(first: str) -> None:
    delimiter = first.strip('"\r\n')[-1] if "\t" not in first else "\t"
    assert read_ids(first + write_rows(ROWS, delimiter)) == ROWS


@given(st.lists(st.tuples(FIELDS, FIELDS), min_size=1, max_size=6), st.sampled_from(DELIMITERS), st.booleans())
def test_every_field_comes_back(rows: list[tuple[str, str]], delimiter: str, crlf: bool) -> None:
    text = write_rows(rows, delimiter, "\r\n" if crlf else "\n")
    expected = [tuple(pd.Series(row).str.strip().str.normalize("NFC")) for row in rows]
    assert read_ids(text) == expected


def test_bytes_of_another_encoding_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    assert read_ids(IMAGES.encode() + "é,1\n".encode() + "ü,2\n".encode("cp1252")) == [("é", "1"), ("ü", "2")]
    assert "images.csv is not UTF-8 throughout: the other bytes were read as Windows-1252, such as in" in caplog.text


@pytest.mark.parametrize(
    ("rows", "malformed", "kept"),
    [
        ("a,1\nb,2,3\nc,4\n", [3], ["a", "c"]),
        ("a,1\nb\nc,4\n", [3], ["a", "c"]),
        ("a,1\n\nc,4\nd\n", [5], ["a", "c"]),  # a blank line is a row of the spreadsheet
        ("a,1\nb,2,\nc,4,,\n", [], ["a", "b", "c"]),  # trailing delimiters shift nothing
        ('a,1\nb,"2\nc,3\nd,4\n', [3], ["a", "c", "d"]),  # a quotation mark that is never closed
        ('a,1\nb,"2\nc,"3"\nd,4\n', [3], ["a", "c", "d"]),  # … or seems to be closed in another row
        ('a,1\nb,"2" inches\nc,3\n', [3], ["a", "c"]),
        ('a,1\nb,19" screen\nc,3\n', [], ["a", "b", "c"]),
    ],
)
def test_a_bad_row_costs_only_itself(rows: str, malformed: list[int], kept: list[str]) -> None:
    table = read_table((IMAGES + rows).encode(), "images.csv")
    assert table.malformed == malformed
    assert table.rows["id"].tolist() == kept


def test_rows_are_numbered_as_in_a_spreadsheet() -> None:
    assert read_table((IMAGES + 'a,"1\n2"\nb,3\n').encode(), "images.csv").rows.index.tolist() == [2, 3]


def test_ids_lose_white_space_around_them_and_have_one_normal_form() -> None:
    assert read_ids(IMAGES + " a 1\u00a0,\tcafe\u0301 \n") == [("a 1", "café")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"id,name\n1,2\n", "lacks the column 'product_id'; it has: id, name"),
        (b"id,id,product_id\n1,2,3\n", "has two columns 'id'"),
        (b"id,product_id\n", "a header but no rows"),
        (b"id,product_id\n1\n2\n", "a header but none of its 2 rows has the same number of fields"),
        (b"PK\x03\x04" + bytes(100), "an Excel or OpenDocument workbook"),
        (b"\xd0\xcf\x11\xe0" + bytes(100), "an old Excel workbook"),
        (b"id,product_id\n\0,b\n", "not a text file"),
        (b"\xff\xfei\0d\0,", "not UTF-16-LE, as its first bytes say"),
        (b"x" * 100_000, "lacks the column 'id'"),
    ],
)
def test_an_unreadable_table_is_refused_in_one_short_sentence(content: bytes, message: str) -> None:
    with pytest.raises(MarketplaceError) as caught:
        read_table(content, "images.csv")
    assert message in str(caught.value)
    assert str(caught.value).startswith("images.csv ")
    assert len(str(caught.value)) < 400
