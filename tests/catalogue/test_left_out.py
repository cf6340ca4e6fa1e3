"""What `clean` sets aside before the split: placeholders, and categories that are too small."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.dumps import fetch_and_clean, noise_photo, small_dump
from hypothesis import given
from hypothesis import strategies as st

from marketplace.catalogue.near_duplicates import PLACEHOLDER_PRODUCTS, RE_ENCODED, placeholders


def rejected(rejects: pd.DataFrame, reason: str) -> dict[str, set[str]]:
    """The ids that were rejected for a reason, by table."""
    rows = rejects[rejects["reason"] == reason]
    return {str(table): set(ids) for table, ids in rows.groupby("table")["id"]}


@pytest.mark.parametrize("qualities", [[90], [90, 60]], ids=["byte-identical", "re-encoded"])
def test_a_placeholder_is_set_aside_and_the_splits_keep_their_shares(qualities: list[int], tmp_path: Path) -> None:
    dump = small_dump(60)
    on = [f"image{number:03}" for number in range(0, 60, 3)]
    for number, name in enumerate(on):
        dump.photos[f"{name}.jpg"] = noise_photo(1000, qualities[number % len(qualities)])
    result = fetch_and_clean(dump.write(tmp_path / "dump"), tmp_path)
    ids = rejected(result.rejects, "placeholder")
    assert ids["images"] == ids["files"] == set(on)
    assert len(ids["products"]) == len(on)
    assert len(result.training_data) == 40
    shares = result.training_data["split"].value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.2, abs=0.05)


def test_a_photo_that_a_few_products_share_is_kept(tmp_path: Path) -> None:
    dump = small_dump()
    for number in range(PLACEHOLDER_PRODUCTS - 1):
        dump.photos[f"image{number:03}.jpg"] = noise_photo(1000)
    result = fetch_and_clean(dump.write(tmp_path / "dump"), tmp_path)
    assert len(result.training_data) == 48
    assert len(result.near_duplicates) == (PLACEHOLDER_PRODUCTS - 1) * (PLACEHOLDER_PRODUCTS - 2) / 2


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 2**256 - 1) | st.integers(0, 2**14)), max_size=40))
def test_placeholders_are_those_on_many_products(photos: list[tuple[int, int]]) -> None:
    products, hashes = pd.Series([f"p{product}" for product, _ in photos], dtype=str), [value for _, value in photos]
    expected = [
        len({product for product, other in photos if (value ^ other).bit_count() <= RE_ENCODED}) >= PLACEHOLDER_PRODUCTS
        for value in hashes
    ]
    if photos:
        found = placeholders(products, pd.Series([f"{value:064x}" for value in hashes]))
        assert found.tolist() == expected


def test_a_rare_category_is_left_out_and_the_others_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dump = small_dump()
    dump.products.loc[:1, "category"] = "Musical Instruments / Ukuleles"
    result = fetch_and_clean(dump.write(tmp_path / "dump"), tmp_path)
    assert rejected(result.rejects, "rare_category") == {
        "products": {"product000", "product001"},
        "images": {"image000", "image001"},
        "files": {"image000", "image001"},
    }
    assert "2 photos and 2 products are left out: the product's root category has too few products" in caplog.text
    assert len(result.categories["decode"]) == 4
    assert (result.training_data.groupby("category")["split"].nunique() == 3).all()


def test_pairs_of_what_is_left_are_named_by_their_ids(tmp_path: Path) -> None:
    dump = small_dump()
    dump.photos["image007.jpg"] = noise_photo(3, quality=40)
    dump.photos["image001.jpg"] = dump.photos["image000.jpg"]
    dump.products.loc[:1, "category"] = "Musical Instruments / Ukuleles"
    pairs = fetch_and_clean(dump.write(tmp_path / "dump"), tmp_path).near_duplicates
    assert pairs[["image_id", "other_image_id"]].to_numpy().tolist() == [["image003", "image007"]]
    assert np.all(pairs["distance"] <= RE_ENCODED)
