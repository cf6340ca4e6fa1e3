import json
import re
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from helpers.dumps import fetch_and_clean, noise_photo, photos_in, small_dump
from helpers.paths import ROOT

from marketplace.catalogue.clean import SCHEMA, CleanDump, clean
from marketplace.common.errors import MarketplaceError
from marketplace.photos.codec import decode
from marketplace.raw.tables import read_table
from marketplace.settings import Settings
from marketplace.sources.fetch import fetch
from marketplace.sources.local import LocalDump, LocalSettings
from marketplace.sources.sample.dump import SampleDump


def check_answers(answers: pd.DataFrame, raw: Path, dump: CleanDump) -> None:
    """Assert that `clean` did with every planted defect what the answer sheet expects."""
    kept = dump.training_data.set_index("image_id")
    rejects = set(dump.rejects[["table", "id"]].itertuples(index=False, name=None))
    rejected_products = dump.rejects[dump.rejects["table"] == "products"]["id"]
    files = photos_in(raw)
    for kind, image_id, product_id, expected in answers.itertuples(index=False):
        context = f"{kind} {image_id} {product_id}: {expected}"
        if expected == "image kept: upright, 3-channel RGB":
            assert image_id in kept.index, context
            image = decode(files[f"{image_id}.jpg"])
            assert image.mode == "RGB", context
            assert 0x0112 not in image.getexif(), context
        elif expected == "image rejected, counted and reported; the run goes on":
            assert image_id not in kept.index, context
            assert {("images", image_id), ("files", image_id)} <= rejects, context
        elif expected == "ignored, counted":
            assert image_id not in kept.index, context
            assert ("files", image_id) in rejects, context
        elif expected == "kept once":
            assert (rejected_products == product_id).sum() == 1, context
            assert product_id in kept["product_id"].to_numpy(), context
        elif expected == "dropped, counted":
            assert image_id not in kept.index, context
            assert ("images", image_id) in rejects or ("products", product_id) in rejects, context
            assert kind != "product-without-image" or product_id not in kept["product_id"].to_numpy(), context
        elif expected.startswith("same bytes as "):
            original_id = expected.removeprefix("same bytes as ").partition(":")[0]
            assert files[f"{image_id}.jpg"] == files[f"{original_id}.jpg"], context
            assert kept.loc[image_id, "sha256"] == kept.loc[original_id, "sha256"], context
            assert kept.loc[image_id, "split"] == kept.loc[original_id, "split"], context
        else:
            raise AssertionError(f"no check for {context}")


def check_accounts(raw: Path, dump: CleanDump) -> None:
    """Assert that rows in = rows kept + rows in rejects, counted here from the raw input."""
    n_in = {
        "products": len(read_table((raw / "products.csv").read_bytes(), "products.csv").rows),
        "images": len(read_table((raw / "images.csv").read_bytes(), "images.csv").rows),
        "files": len(photos_in(raw)),
    }
    n_kept = {
        "products": dump.training_data["product_id"].nunique(),
        "images": len(dump.training_data),
        "files": len(dump.training_data),
    }
    for table in n_in:
        counts = dump.counts[table]
        rejects = dump.rejects[dump.rejects["table"] == table]
        assert n_in[table] == n_kept[table] + len(rejects)
        assert (counts["in"], counts["kept"], counts["rejected"]) == (n_in[table], n_kept[table], len(rejects))
        assert {key: n for key, n in counts.items() if key not in ("in", "kept", "rejected")} == (
            rejects["reason"].value_counts().to_dict()
        )
    assert (dump.rejects["reason"] != "").all()


def check_table(dump: CleanDump) -> None:
    """Assert that ids, order, labels and splits of the training data are right."""
    table = dump.training_data
    assert table["image_id"].is_unique
    assert table.sort_values(["shard", "image_id"], kind="stable").index.tolist() == list(range(len(table)))
    assert [dump.categories["decode"][label] for label in table["label"]] == table["category"].tolist()
    assert all(
        path.split(" / ")[0] == root for path, root in zip(table["category_path"], table["category"], strict=True)
    )
    for column in ("product_id", "sha256"):
        assert (table.groupby(column)["split"].nunique() == 1).all()
    assert (table.groupby("category")["split"].nunique() == 3).all()
    by_category = table.groupby("category")["split"].value_counts(normalize=True).unstack()
    assert ((by_category["test"] - 0.2).abs() < 0.08).all()


@pytest.fixture(scope="module")
def cleaned(raw: Path, settings: Settings) -> CleanDump:
    return clean(raw, settings.clean)


def test_the_samples_defects_meet_what_is_expected(sample: SampleDump, raw: Path, cleaned: CleanDump) -> None:
    check_answers(sample.answers, raw, cleaned)
    check_accounts(raw, cleaned)
    assert cleaned.training_data["category"].nunique() == 13


def test_dirt_leaves_no_trace_in_the_samples_table(cleaned: CleanDump) -> None:
    table = cleaned.training_data
    assert not table["product_name"].str.contains("Ã|Â|\r", regex=True).any()
    assert table["product_name"].str.contains("Café").any()
    assert table["price"].notna().all()
    assert all(price == price.quantize(Decimal("0.01")) for price in table["price"])


def test_the_real_listings_defects_meet_what_is_expected(listings: Path, settings: Settings, tmp_path: Path) -> None:
    fetch(LocalDump(LocalSettings(path=str(listings))), tmp_path, n_shards=8, limit=None)
    dump = clean(tmp_path, settings.clean)
    answers = pd.read_csv(listings / "defects.csv", keep_default_na=False, dtype=str)
    check_answers(answers, tmp_path, dump)
    check_accounts(tmp_path, dump)
    check_table(dump)
    assert dump.training_data["category"].nunique() == 13
    assert dump.training_data["price"].notna().all()


def test_the_files_hold_what_the_contract_says(cleaned: CleanDump, tmp_path: Path) -> None:
    cleaned.write(tmp_path, tmp_path / "metrics.json")
    assert pq.read_schema(tmp_path / "training_data.parquet").equals(SCHEMA)
    assert SCHEMA.names == [
        "image_id",
        "file",
        "shard",
        "product_id",
        "product_name",
        "product_description",
        "category",
        "category_path",
        "label",
        "price",
        "currency",
        "location",
        "split",
        "sha256",
        "group",
    ]
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "training_data.parquet"), cleaned.training_data, check_dtype=False
    )
    assert json.loads((tmp_path / "categories.json").read_text()) == cleaned.categories
    assert json.loads((tmp_path / "metrics.json").read_text()) == cleaned.counts
    rejects = pd.read_csv(tmp_path / "rejects.csv", dtype=str)
    assert rejects.columns.tolist() == ["table", "id", "reason"]
    assert len(rejects) == len(cleaned.rejects)


def test_the_rows_are_in_the_order_that_the_readme_of_the_data_promises(cleaned: CleanDump) -> None:
    lines = (ROOT / "data" / "README.md").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith("| `clean/training_data.parquet`"))
    (columns,) = re.findall(r"ordered by `(\w+)`, then `(\w+)`", line)
    table = cleaned.training_data
    pd.testing.assert_frame_equal(table, table.sort_values(list(columns), ignore_index=True))
    assert not table["image_id"].is_monotonic_increasing  # the first column counts


def test_cleaning_twice_gives_the_same_bytes(raw: Path, cleaned: CleanDump, settings: Settings, tmp_path: Path) -> None:
    cleaned.write(tmp_path / "a", tmp_path / "a" / "metrics.json")
    clean(raw, settings.clean).write(tmp_path / "b", tmp_path / "b" / "metrics.json")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_dump_without_a_sound_photo_is_refused(tmp_path: Path) -> None:
    dump = small_dump()
    dump.photos = dict.fromkeys(dump.photos, b"<html>")
    with pytest.raises(MarketplaceError, match="no photo is left"):
        fetch_and_clean(dump.write(tmp_path / "dump"), tmp_path)


def test_when_no_file_matches_a_row_names_and_ids_are_shown(tmp_path: Path) -> None:
    dump = small_dump()
    dump.photos = {f"photo {number}.jpg": content for number, content in enumerate(dump.photos.values())}
    message = r"none of the 48 files .* named like 'photo 0\.jpg', ids are like 'image000'"
    with pytest.raises(MarketplaceError, match=message):
        fetch_and_clean(dump.write(tmp_path / "dump"), tmp_path)


@pytest.mark.parametrize("extension", ["JPG", "jpeg", "Png", "tiff", "WEBP", "HEIC", ""])
def test_files_are_found_whatever_their_extension(tmp_path: Path, extension: str) -> None:
    dump = small_dump()
    dump.photos = {name.replace("jpg", extension).rstrip("."): content for name, content in dump.photos.items()}
    dump.photos["image000.bmp"] = noise_photo(99)
    dump.photos["image000.jpg"] = noise_photo(99)
    result = fetch_and_clean(dump.write(tmp_path / "dump"), tmp_path)
    table = result.training_data
    assert len(table) == 48
    assert table["file"][0] == "image000.jpg"  # the usual name is preferred
    assert (result.rejects["reason"] == "same_id").sum() == 2
