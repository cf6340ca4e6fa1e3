"""Categories: one spelling for each, whatever an export did to it."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.catalogue.categories import parse_categories, parse_category

LEVEL = st.from_regex(r"[A-Za-z]{3}[A-Za-z &]{0,8}[a-z]", fullmatch=True).map(lambda text: " ".join(text.split()))
PATHS = st.lists(LEVEL, min_size=1, max_size=3)


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("Tops / T-Shirt", "Tops|T-Shirt"),
        ("Tops/ T-Shirt", "Tops|T-Shirt"),
        ("Tops /T-Shirt", "Tops|T-Shirt"),
        ("Hats, Coats & Jackets, / Outwear", "Hats, Coats & Jackets|Outwear"),
        ("Clothes, Footwear & Accessories", "Clothes, Footwear & Accessories"),
        ("TV/DVD / Players", "TV/DVD|Players"),
        ("  Juice  /  Juice / Bravo ", "Juice|Juice|Bravo"),
        ("Juice / ", "Juice"),
        ("Home > Garden>Pots", "Home|Garden|Pots"),
        ("Home &gt; Garden &amp;amp; Pots", "Home|Garden & Pots"),
        ("Home » Garden", "Home|Garden"),
        ("Home|Garden", "Home|Garden"),
        ("Home\\Garden", "Home|Garden"),
        ("Home::Garden", "Home|Garden"),
        ("Dresses\u200b & Skirts\u00ad / Leaf", "Dresses & Skirts|Leaf"),
        ("Cafe\u0301 / Cups", "Café|Cups"),
        ("CafÃ© / Cups", "Café|Cups"),
        ("Tops / N/A", "Tops"),
        ("Tops\x02 / <b>T-Shirt</b>", "Tops|T-Shirt"),
        ("家具／ 椅子", "家具|椅子"),
        ("家具＞椅子", "家具|椅子"),
        ("Flats / 100 m²", "Flats|100 m²"),
    ],
)
def test_levels_are_separated_however_an_export_writes_them(text: str, levels: str) -> None:
    assert parse_category(text) == tuple(levels.split("|"))


@pytest.mark.parametrize(
    "text",
    ["", " / ", "N/A", "n/a / Lamps", "(none)", "NULL", "nan", "-", "#N/A", "Unknown", "\\N", "null > null", "—"],
)
def test_placeholders_are_no_category(text: str) -> None:
    assert parse_category(text) == ()


def test_spellings_merge_into_the_commonest() -> None:
    texts = ["Tops / Leaf 0", "TOPS / LEAF 0", "tops / Leaf 0", "Tops​ / Leaf 0", "HATS / Caps", "Hats / Caps", "N/A"]
    tops = ("Tops", "Leaf 0")
    assert parse_categories(texts) == [tops, tops, tops, tops, ("Hats", "Caps"), ("Hats", "Caps"), ()]
    assert parse_categories(["Hats", "Hats", "Ｈａｔｓ", "𝐇𝐚𝐭𝐬", "Tops"]) == [("Hats",)] * 4 + [("Tops",)]


@pytest.mark.parametrize(
    ("texts", "roots"),
    [
        (
            ["Default Category/ Tops / A", "Default Category / Hats", "default category > Hats", "N/A"],
            "Tops Hats Hats -",
        ),
        (["Root / Default / Tops", "Root / Default / Hats"], "Tops Hats"),
        (["Shop / Tops / A", "Shop / Hats", "Shop"], "Tops Hats Shop"),
        (["Tops / A", "Tops / A"], "Tops Tops"),
        (["Tops / A", "Tops / B", "Hats / A"], "Tops Tops Hats"),
    ],
)
def test_a_first_level_that_all_share_is_left_out_with_a_line(
    texts: list[str], roots: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    paths = parse_categories(texts)
    assert [path[0] if path else "-" for path in paths] == roots.split()
    assert ("which is left out" in caplog.text) == (paths[0] != parse_category(texts[0]))


@given(st.lists(PATHS, min_size=1, max_size=8), st.sampled_from([" / ", " > ", "|", "::", " » "]), st.randoms())
def test_case_and_separator_make_no_difference(paths: list[list[str]], separator: str, random: object) -> None:
    plain = parse_categories([" / ".join(path) for path in paths])
    changed = [random.choice([str.upper, str.lower, str])(separator.join(path)) for path in paths]  # type: ignore[attr-defined]
    parsed = parse_categories(changed)
    assert [tuple(map(str.casefold, path)) for path in parsed] == [tuple(map(str.casefold, path)) for path in plain]
    spellings = {level for path in parsed for level in path}
    assert len(spellings) == len({level.casefold() for level in spellings})


def test_separators_that_may_be_part_of_a_name_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert parse_categories(["Home - Garden", "Toys - Games"]) == [("Home - Garden",), ("Toys - Games",)]
    assert "no category has more than one level, though all contain ' - '" in caplog.text
    caplog.clear()
    parse_categories(["T-Shirts - Men / Blue", "Toys - Games"])
    assert caplog.text == ""
