"""Files of judgements: what is read, what is left out, and the sentence for a mistake."""

from pathlib import Path

import pytest

from marketplace.common.errors import MarketplaceError
from marketplace.relevance.judgements import (
    PRODUCT_COLUMNS,
    SEARCH_COLUMNS,
    Addition,
    Judgements,
    add_grades,
    read_grades,
    read_judgements,
    split_of_search,
)

HEADER = "product_id,similar_product_id,grade\n"


def read(folder: Path, text: str) -> Judgements:
    path = folder / "judgements.csv"
    path.write_text(text)
    return read_judgements(path, PRODUCT_COLUMNS, ["a", "b", "c"])


def test_pairs_of_this_catalogue_are_kept_and_the_others_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        judgements = read(tmp_path, f"{HEADER}b,a,1\na,c,2\na,b,0\na,b,0\nx,a,2\na,y,1\n")
    assert judgements.questions.tolist() == ["a", "a", "b"]
    assert judgements.candidates.tolist() == ["b", "c", "a"]
    assert judgements.grades.tolist() == [0, 2, 1]
    assert "2 of 5 judgements are about other catalogues" in caplog.text
    assert judgements.select(judgements.questions == "b").grades.tolist() == [1]


def test_a_header_alone_is_no_judgement(tmp_path: Path) -> None:
    assert len(read(tmp_path, HEADER)) == 0


def test_further_columns_are_ignored(tmp_path: Path) -> None:
    judgements = read(tmp_path, "grade,split,similar_product_id,product_id\n2,val,b,a\n")
    assert judgements.grades.tolist() == [2]


def test_ids_that_a_spreadsheet_takes_for_formulas_come_back(tmp_path: Path) -> None:
    path = tmp_path / "judgements.csv"
    path.write_text(f"{HEADER}-x,+y,1\n")  # by hand, as it was before
    grades = {("-x", "=1+1"): 2, ("'=1", "b"): 0}
    assert add_grades(path, {**grades, ("-x", "+y"): 1}).added == 2
    assert read_grades(path) == {("-x", "+y"): 1, **grades}
    assert path.read_text().endswith("'-x,'=1+1,2\n''=1,b,0\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("product_id,grade\na,2\n", "has no column similar_product_id"),
        (f"{HEADER}a,b,3\n", "1 grades are not 0, 1 or 2, such as '3' in line 2"),
        (f"{HEADER}a,b,2\na,c,\n", "such as '' in line 3"),
        (f"{HEADER}a,b,2\na,b,1\n", "1 pairs have two different grades \\(a and b\\)"),
        ("", "is not a table of judgements"),
        (f"{HEADER}a,b,2\na,b,c,d,e\n", "is not a table of judgements"),
    ],
)
def test_a_mistake_is_a_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MarketplaceError, match=message):
        read(tmp_path, text)


def test_new_grades_are_appended_and_no_byte_before_them_changes(tmp_path: Path) -> None:
    path = tmp_path / "judgements.csv"
    before = b'grade,split,similar_product_id,product_id\r\n2,val,b,a\r\n0,,"x,y",a'
    path.write_bytes(before)
    addition = add_grades(path, {("a", "b"): 0, ("a", "x,y"): 0, ("a", 'quoted "c"'): 1, ("b", "a"): 2})
    assert addition == Addition(added=2, judged_before=2, conflicts={("a", "b"): (2, 0)})
    assert path.read_bytes() == before + b'\r\n1,,"quoted ""c""",a\r\n2,,a,b\r\n'
    assert read_grades(path) == {("a", "b"): 2, ("a", "x,y"): 0, ("a", 'quoted "c"'): 1, ("b", "a"): 2}
    whole = path.read_bytes()
    again = add_grades(path, {("a", 'quoted "c"'): 1, ("b", "a"): 2})
    assert again == Addition(added=0, judged_before=2, conflicts={})
    assert path.read_bytes() == whole
    assert [file.name for file in tmp_path.iterdir()] == ["judgements.csv"]


@pytest.mark.parametrize("text", ["", "product_id,grade\na,2\n", f"{HEADER}a,b,3\n", f"{HEADER}a,b,2\na,b,1\n"])
def test_nothing_is_added_to_a_malformed_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "judgements.csv"
    path.write_text(text)
    with pytest.raises(MarketplaceError, match=str(path)):
        add_grades(path, {("a", "b"): 2})
    assert path.read_text() == text


def test_a_search_needs_no_product_to_ask_about(tmp_path: Path) -> None:
    path = tmp_path / "searches.csv"
    path.write_text("query,product_id,grade\nred sofa,a,2\nred sofa,x,2\n")
    judgements = read_judgements(path, SEARCH_COLUMNS, ["a"])
    assert judgements.questions.tolist() == ["red sofa"]


def test_a_searchs_split_depends_on_its_words_alone() -> None:
    splits = {query: split_of_search(query) for query in ("red sofa", "oak table", "pram", "bike", "lamp")}
    assert set(splits.values()) == {"val", "test"}
    assert splits == {query: split_of_search(query) for query in reversed(splits)}
