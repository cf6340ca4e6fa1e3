"""Corrections that people made reach the training data, and mistakes in their file are named."""

import hashlib
import logging
from pathlib import Path

import pandas as pd
import pytest
from helpers.dumps import fetch_and_clean, files_in, small_dump

from marketplace.catalogue.clean import CleanSettings, clean
from marketplace.catalogue.correction_file import CORRECTIONS, Correction, read_corrections
from marketplace.catalogue.corrections import correct_products
from marketplace.common.errors import MarketplaceError
from marketplace.raw.rejects import Rejects

HEADER = "product_id,correction\n"


def write(folder: Path, content: str) -> Path:
    path = folder / "corrections.csv"
    path.write_text(content, encoding="utf-8")
    return path


def correct(*lines: tuple[str, str]) -> tuple[pd.DataFrame, dict[str, int], Rejects]:
    """Correct three products by ids and corrections, in the lines 2, 3, …"""
    products = pd.DataFrame(
        {
            "id": ["a", "b", "c"],
            "category": ["Home & Garden", "Clothes, Shoes", ""],
            "category_path": ["Home & Garden / Lamps", "Clothes, Shoes / Boots", ""],
        }
    )
    corrections = [Correction(product_id, text, line) for line, (product_id, text) in enumerate(lines, start=2)]
    rejects = Rejects()
    table, counts = correct_products(products, corrections, rejects)
    return table.set_index("id"), counts, rejects


def test_clean_applies_corrections_and_counts_them(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        HEADER
        + "product000,lamps / LEAF 1\nproduct001,Toys\n product002 ,drop\n\nproduct003,Toys / Leaf 3\ngone,Bags\n",
    )
    dump = small_dump()
    dump.products.loc[1, "category"] = "n/a"
    result = fetch_and_clean(dump.write(tmp_path / "dump"), tmp_path, read_corrections(path))
    table = result.training_data.set_index("product_id")
    assert table.loc["product000", ["category", "category_path"]].tolist() == ["Lamps", "Lamps / Leaf 1"]
    assert table.loc["product001", ["category", "category_path"]].tolist() == ["Toys", "Toys"]
    assert [name for name in ("product002", "product003") if name in table.index] == ["product003"]
    assert result.categories["decode"][table.loc["product000", "label"]] == "Lamps"
    dropped = result.rejects[result.rejects["reason"] == "dropped"]
    assert dropped[["table", "id"]].to_numpy().tolist() == [["products", "product002"]]
    assert result.counts["corrections"] == {"changed": 2, "confirmed": 1, "dropped": 1, "unknown": 1}


def test_a_header_alone_changes_no_byte(tmp_path: Path) -> None:
    fetch_and_clean(small_dump().write(tmp_path / "dump"), tmp_path).write(tmp_path / "a", tmp_path / "a/clean.json")
    corrections = read_corrections(write(tmp_path, HEADER))
    result = clean(tmp_path / "raw", CleanSettings(test=0.2, val=0.15, seed=42), corrections)
    result.write(tmp_path / "b", tmp_path / "b/clean.json")
    first, second = (
        {name: hashlib.sha256(content).hexdigest() for name, content in files_in(tmp_path / folder).items()}
        for folder in "ab"
    )
    assert first == second


def test_a_product_that_is_gone_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        table, counts, _ = correct(("gone", "Home & Garden"), ("b", "home & garden"))
    assert f"products of {CORRECTIONS} that are not in the dump: 1, such as 'gone'" in caplog.text
    assert table.loc["b", "category_path"] == "Home & Garden"
    assert counts == {"changed": 1, "confirmed": 0, "dropped": 0, "unknown": 1}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Home and Garden", r"Did you mean 'Home & Garden'"),
        ("Boot", r"Did you mean 'Clothes, Shoes / Boots'\?"),
        ("xyz", "reports/data.html lists the categories"),
        ("n/a", "reports/data.html lists the categories"),
    ],
)
def test_a_category_that_no_listing_has_is_named_with_near_ones(text: str, hint: str) -> None:
    with pytest.raises(MarketplaceError, match=rf"^data/corrections\.csv, line 3: no listing has .*{text}.* {hint}"):
        correct(("a", "drop"), ("b", text))


def test_the_file_may_come_from_a_spreadsheet(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffwhy;correction;product_id\r\nboots;Clothes, Shoes;'=1+1\r\n;DROP;b\r\n;drop;b\r\n")
    corrections = read_corrections(path)
    assert [(row.product_id, row.text) for row in corrections] == [("=1+1", "Clothes, Shoes"), ("b", "drop")]
    assert corrections[1].drops


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", r"has no column product_id, correction: its first line must be product_id,correction"),
        ("id,correction\n", r"has no column product_id: .* and it is 'id,correction'"),
        (HEADER + "a,Bags\nb,\n", r"line 3: a correction is missing"),
        (HEADER + ",drop\n", r"line 2: a product_id is missing"),
        (HEADER + "a,Clothes, Shoes\n", r"line 2: there are more fields than the header has. .* double quotes"),
        (HEADER + "a,Bags\nb,Bags\na,Toys\n", r"corrects 'a' in two ways: 'Bags' in line 2 and 'Toys' in line 4"),
        ("PK\x03\x04", r"is an Excel or OpenDocument workbook"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, content: str, error: str) -> None:
    with pytest.raises(MarketplaceError, match=error):
        read_corrections(write(tmp_path, content))


def test_a_missing_file_is_an_error_that_says_how_to_restore_it(tmp_path: Path) -> None:
    with pytest.raises(MarketplaceError, match=r"corrections\.csv is missing: restore it with `git checkout"):
        read_corrections(tmp_path / "corrections.csv")
