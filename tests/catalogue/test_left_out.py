"""Photos that `clean` leaves out before the split: placeholders, and those of categories that are too small."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.dumps import fetch_and_clean, noise_photo, small_dump

from marketplace.catalogue.placeholders import MAX_RE_ENCODED_DISTANCE, MIN_PLACEHOLDER_PRODUCTS
from marketplace.common.errors import MarketplaceError


def ids_with_reason(rejects: pd.DataFrame, reason: str) -> dict[str, set[str]]:
    """Return the ids that were left out for a reason, by table."""
    rows = rejects[rejects["reason"] == reason]
    return {str(table): set(ids) for table, ids in rows.groupby("table")["id"]}


@pytest.mark.parametrize("qualities", [[90], [90, 60]], ids=["byte-identical", "re-encoded"])
def test_a_placeholder_is_left_out_and_the_splits_keep_their_shares(qualities: list[int], tmp_path: Path) -> None:
    dump = small_dump(60)
    placeholder_ids = [f"image{number:03}" for number in range(0, 60, 3)]
    for number, name in enumerate(placeholder_ids):
        dump.photos[f"{name}.jpg"] = noise_photo(1000, qualities[number % len(qualities)])
    result = fetch_and_clean(dump.write(tmp_path / "dump"), tmp_path)
    ids = ids_with_reason(result.rejects, "placeholder")
    assert ids["images"] == ids["files"] == set(placeholder_ids)
    assert len(ids["products"]) == len(placeholder_ids)
    assert len(result.training_data) == 40
    shares = result.training_data["split"].value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.2, abs=0.05)


def test_a_photo_that_a_few_products_share_is_kept(tmp_path: Path) -> None:
    dump = small_dump()
    for number in range(MIN_PLACEHOLDER_PRODUCTS - 1):
        dump.photos[f"image{number:03}.jpg"] = noise_photo(1000)
    result = fetch_and_clean(dump.write(tmp_path / "dump"), tmp_path)
    assert len(result.training_data) == 48
    assert len(result.near_duplicates) == (MIN_PLACEHOLDER_PRODUCTS - 1) * (MIN_PLACEHOLDER_PRODUCTS - 2) / 2


def test_a_rare_category_is_left_out_and_the_others_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dump = small_dump()
    dump.products.loc[:1, "category"] = "Musical Instruments / Ukuleles"
    result = fetch_and_clean(dump.write(tmp_path / "dump"), tmp_path)
    assert ids_with_reason(result.rejects, "rare_category") == {
        "products": {"product000", "product001"},
        "images": {"image000", "image001"},
        "files": {"image000", "image001"},
    }
    assert "2 photos and 2 products are left out: the product's root category has too few products" in caplog.text
    assert len(result.categories["decode"]) == 4
    assert (result.training_data.groupby("category")["split"].nunique() == 3).all()


def test_a_photo_of_several_products_is_the_first_ones_and_the_others_have_a_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dump = small_dump()
    dump.images.loc[[1, 2], "id"] = "image000"
    more = pd.DataFrame({"id": ["image003", "image004"], "product_id": "product002"})
    again = pd.DataFrame({"id": ["image005"], "product_id": ["product004"]})  # which has a photo of its own
    dump.images = pd.concat([dump.images, more, again], ignore_index=True)
    result = fetch_and_clean(dump.write(tmp_path / "dump"), tmp_path)
    assert ids_with_reason(result.rejects, "photo_of_another_product") == {
        "images": {"image000", "image003", "image004", "image005"}
    }
    assert ids_with_reason(result.rejects, "without_own_photo") == {"products": {"product001", "product002"}}
    assert (
        "5 rows of images.csv give a photo to a further product: it stays the first one's, and 2 products"
        in caplog.text
    )


def test_ids_of_two_programs_are_joined(tmp_path: Path) -> None:
    dump = small_dump()
    dump.images["product_id"] = [f"{{{product_id.upper()}}}" for product_id in dump.images["product_id"]]
    dump.photos = {f"{name[:-4].upper()}.JPG": content for name, content in dump.photos.items()}
    result = fetch_and_clean(dump.write(tmp_path / "dump"), tmp_path)
    assert result.rejects.empty
    assert set(result.training_data["product_id"]) == {f"product{number:03}" for number in range(48)}
    assert set(result.training_data["image_id"]) == {f"image{number:03}" for number in range(48)}


def test_the_reasons_are_named_if_no_photo_is_left(tmp_path: Path) -> None:
    dump = small_dump()
    dump.photos = dict.fromkeys(dump.photos, b"<html>")
    with pytest.raises(
        MarketplaceError, match=r"of the rows of images.csv, 48 are left out \(the file is not an image"
    ):
        fetch_and_clean(dump.write(tmp_path / "dump"), tmp_path)


def test_pairs_of_kept_photos_are_named_by_their_ids(tmp_path: Path) -> None:
    dump = small_dump()
    dump.photos["image007.jpg"] = noise_photo(3, quality=40)
    dump.photos["image001.jpg"] = dump.photos["image000.jpg"]
    dump.products.loc[:1, "category"] = "Musical Instruments / Ukuleles"
    pairs = fetch_and_clean(dump.write(tmp_path / "dump"), tmp_path).near_duplicates
    assert pairs[["image_id", "other_image_id"]].to_numpy().tolist() == [["image003", "image007"]]
    assert np.all(pairs["distance"] <= MAX_RE_ENCODED_DISTANCE)
