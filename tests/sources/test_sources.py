"""The sample, a local folder, and a limit of products."""

import csv
import io
import os
from pathlib import Path

import pandas as pd
import pytest
from helpers.dumps import fetch_files, files_in, photos_in, small_dump, unpack

from marketplace.common.errors import MarketplaceError
from marketplace.raw.tables import read_table
from marketplace.settings import Settings
from marketplace.sources.fetch import fetch
from marketplace.sources.local import LocalDump, LocalSettings
from marketplace.sources.sample.dump import SampleDump, SampleSettings
from marketplace.sources.sample.listings import CATEGORIES, make_listings


def test_the_same_seed_draws_the_same_marketplace_and_another_seed_another(tmp_path: Path) -> None:
    def fetch_sample(seed: int, folder: Path) -> dict[str, bytes]:
        dump = SampleDump(SampleSettings(products=20, seed=seed, defect_rate=0.01))
        fetch(dump, folder, n_shards=2, limit=None)
        return files_in(folder)

    files = fetch_sample(1, tmp_path / "first")
    assert fetch_sample(1, tmp_path / "second") == files
    assert not set(files.values()) & set(fetch_sample(2, tmp_path / "third").values())


def test_a_larger_sample_extends_a_smaller_one() -> None:
    assert make_listings(40, seed=3)[:15] == make_listings(15, seed=3)


def test_the_sample_has_thirteen_categories_and_two_photos_for_most_products() -> None:
    products = make_listings(260, seed=42)
    assert {product.category for product in products} == set(CATEGORIES)
    assert len(CATEGORIES) == 13
    assert any("," in name for name in CATEGORIES)
    n_with_two_photos = sum(len(product.image_ids) == 2 for product in products)
    assert n_with_two_photos > len(products) / 2


def test_every_kind_of_defect_in_the_real_listings_is_planted(sample: SampleDump, listings: Path) -> None:
    kinds = set(pd.read_csv(listings / "defects.csv")["kind"])
    assert set(sample.answers["kind"]) == kinds


def test_a_clean_sample_has_no_defects() -> None:
    dump = SampleDump(SampleSettings(products=26, seed=1, defect_rate=0.0))
    assert dump.answers.empty
    assert "Â" not in dump.table("products.csv").decode()
    assert len(dump.photo_names()) == len(read_table(dump.table("images.csv"), "images.csv").rows)


def test_every_byte_arrives_from_a_local_folder(raw: Path, tmp_path: Path, settings: Settings) -> None:
    folder = unpack(raw, tmp_path / "dump")
    (folder / "images" / "a folder").mkdir()
    local = settings.fetch.model_copy(update={"source": "local", "local": LocalSettings(path=str(folder))})
    assert fetch_files(local, tmp_path / "raw") == files_in(raw)


def test_a_missing_part_of_a_local_dump_is_named(tmp_path: Path) -> None:
    with pytest.raises(MarketplaceError, match=r"fetch\.local\.path = .* is not a folder"):
        LocalDump(LocalSettings(path=str(tmp_path / "nowhere")))
    for name in ("products.csv", "images.csv"):
        with pytest.raises(MarketplaceError, match=f"{name} is missing"):
            LocalDump(LocalSettings(path=str(tmp_path)))
        (tmp_path / name).touch()
    with pytest.raises(MarketplaceError, match="images is missing"):
        LocalDump(LocalSettings(path=str(tmp_path)))
    (tmp_path / "images").mkdir()
    with pytest.raises(MarketplaceError, match="is empty"):
        fetch(LocalDump(LocalSettings(path=str(tmp_path))), tmp_path / "raw", 1, None)
    assert not (tmp_path / "raw" / "images").exists()


@pytest.mark.parametrize("part", ["products.csv", "images.csv", "images"])
def test_a_link_out_of_a_local_dump_is_not_followed(tmp_path: Path, part: str) -> None:
    folder = small_dump(4).write(tmp_path / "dump")
    (folder / part).rename(tmp_path / "elsewhere")
    (folder / part).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MarketplaceError, match=f"{part} is a link that leads out of the dump, to .*/elsewhere"):
        LocalDump(LocalSettings(path=str(folder)))
    (folder / part).unlink()
    (tmp_path / "elsewhere").rename(folder / "today")
    (folder / part).symlink_to("today")
    (tmp_path / "link").symlink_to(folder)
    assert len(LocalDump(LocalSettings(path=str(tmp_path / "link"))).photo_names()) == 4


def test_a_table_that_is_no_file_is_not_read(tmp_path: Path) -> None:
    folder = small_dump(4).write(tmp_path / "dump")
    (folder / "products.csv").unlink()
    os.mkfifo(folder / "products.csv")  # reading it would never end
    with pytest.raises(MarketplaceError, match=r"products\.csv is not a file"):
        LocalDump(LocalSettings(path=str(folder)))


def test_a_file_too_large_for_a_photo_and_one_that_vanishes_cost_themselves_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = small_dump(8).write(tmp_path / "dump")
    with (folder / "images" / "backup.tar").open("wb") as file:
        file.truncate(30 * 10**9)  # takes no space
    (folder / "images" / f"{'x' * 250}.jpg").touch()
    dump = LocalDump(LocalSettings(path=str(folder)))
    names = dump.photo_names()
    (folder / "images" / "image003.jpg").unlink()
    assert len(list(dump.read_photos(names))) == len(names) - 1 == 8
    assert "1 files in images/ are left behind, such as 'backup.tar' (30.0 GB): no photo has more" in caplog.text


def test_a_limit_fetches_the_first_products_with_their_rows_and_files(sample: SampleDump, tmp_path: Path) -> None:
    fetch(sample, tmp_path, n_shards=2, limit=30)
    # Parsed in another way, by the standard library.
    rows = list(csv.DictReader(io.StringIO(sample.table("products.csv").decode().replace("\r", " "))))
    first_ids = [row["id"] for row in rows][:30]
    products = read_table((tmp_path / "products.csv").read_bytes(), "products.csv").rows
    images = read_table((tmp_path / "images.csv").read_bytes(), "images.csv").rows
    assert products["id"].drop_duplicates().tolist() == first_ids
    assert set(images["product_id"]) <= set(first_ids)
    names = set(photos_in(tmp_path))
    assert names == {f"{image_id}.jpg" for image_id in images["id"]} & set(sample.photo_names())
    assert names
