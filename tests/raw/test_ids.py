"""Ids of two programs: joined where they can mean only one thing."""

import logging

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.common.errors import MarketplaceError
from marketplace.raw.ids import ids_of_files, match_ids, match_product_ids

UUID = "42b497cc-6c7b-5f07-8cde-257e7fc7d9e9"


def match(ids: list[str], known: list[str]) -> list[str]:
    return match_ids(ids, known, "images.csv", "products.csv")


@pytest.mark.parametrize(
    ("own", "known"),
    [
        (UUID, UUID.upper()),
        (UUID, f"{{{UUID.upper()}}}"),
        (f"urn:uuid:{UUID}", UUID.replace("-", "")),
        ("abc-1", "ABC-1"),
        ("{abc}", "abc"),
        ("000001", "1"),
        ("0", "000"),
        ("12345.0", "12345"),
        ("1,234,567", "1234567"),
        ('="007"', "7"),
        ("'7", "7"),
        ("2.02401E+13", "20240100000007"),
        ("20240100000007", "2,02401E+13"),
        ("2.024E+13", "20240000000000"),
    ],
)
def test_spellings_of_one_id_are_joined_with_a_line(own: str, known: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert match([own, own, "x"], [known, "y"]) == [known, known, "x"]
    assert (
        f"1 ids of images.csv are written in another way in products.csv, such as {known!r} for {own!r}" in caplog.text
    )
    assert match([known], [known]) == [known]


@pytest.mark.parametrize(
    ("ids", "known"),
    [
        (["aB", "Ab"], ["ab"]),  # two ids of one table
        (["ab"], ["aB", "Ab"]),  # two ids of the other
        (["1", "01"], ["1"]),  # one is there as it is: the other may be another
        (["01", "001"], ["1"]),
        (["2.02401E+13"], ["20240100000000", "20240100000007"]),
        (["20240100000000"], ["2.02401E+13", "2.02401E+13"]),  # two rows
        (["2.024E+13"], ["20240400000000"]),  # a spreadsheet would show 2.0244E+13
        (["1e5"], ["100000"]),  # a hexadecimal number, perhaps
        (["-1"], ["1"]),
        (["A-1"], ["A1"]),
    ],
)
def test_ids_that_may_be_two_stay_apart(ids: list[str], known: list[str]) -> None:
    assert match(ids, known) == ids


def test_spellings_of_a_uuid_are_one_id_however_many_there_are() -> None:
    assert match([UUID, UUID.upper(), f"{{{UUID}}}"], [UUID]) == [UUID] * 3


@given(st.lists(st.text(alphabet="01aA.,E+{}-", max_size=6), max_size=6), st.lists(st.text("01aA.,E+", max_size=6)))
def test_ids_that_are_known_stay_and_others_become_known_or_stay(ids: list[str], known: list[str]) -> None:
    for own, matched in zip(ids, match(ids, known), strict=True):
        assert matched == own or (own not in known and matched in known)


def test_the_id_of_a_file_is_its_path_or_its_name_in_any_spelling() -> None:
    known = ["a1", "P1/1", "up", "a.jpg", UUID, "7"]
    names = ["sub/a1.jpg", "P1/1.png", "UP.JPG", "a.jpg", f"{{{UUID.upper()}}}.jpeg", "x/007.jpg", "x/y.jpg"]
    assert ids_of_files(names, known) == ["a1", "P1/1", "up", "a.jpg", UUID, "7", "y"]


@pytest.mark.parametrize(
    ("product_ids", "known", "remedy"),
    [
        (["a1", "a2"], ["x-1", "x-2"], "the same ids have to be in both tables"),
        (["20240100000000", "20240100000007"], ["2.02401E+13"] * 2, "a spreadsheet has rounded them"),
        (["2.02401E+13"] * 2, ["2.02401E+13"] * 2, "a spreadsheet has rounded them"),
    ],
)
def test_tables_that_cannot_be_joined_are_a_sentence_with_an_id_of_each(
    product_ids: list[str], known: list[str], remedy: str
) -> None:
    images = pd.DataFrame({"id": ["i", "j"], "product_id": product_ids})
    products = pd.DataFrame({"id": known, "product_name": ["Oak", "Pine"]})
    with pytest.raises(MarketplaceError, match=remedy) as error:
        match_product_ids(images, products)
    assert f"like {product_ids[0]!r} in images.csv and like {known[0]!r} in products.csv" in str(error.value)
