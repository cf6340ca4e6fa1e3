import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from helpers.dumps import unpack

from marketplace.common.errors import MarketplaceError
from marketplace.raw.shards import read_shard, shard_paths
from marketplace.raw.tables import read_table
from marketplace.settings import Settings
from marketplace.sources.dump import open_dump
from marketplace.sources.fetch import fetch
from marketplace.sources.local import LocalDump, LocalSettings
from marketplace.sources.sample.dump import SampleDump, SampleSettings
from marketplace.sources.sample.listings import CATEGORIES, make_listings


def test_the_same_seed_draws_the_same_marketplace_and_another_seed_another(tmp_path: Path) -> None:
    def files(seed: int, folder: str) -> dict[str, bytes]:
        dump = SampleDump(SampleSettings(products=20, seed=seed, defect_rate=0.01))
        fetch(dump, tmp_path / folder, n_shards=2, limit=None)
        return {str(p.relative_to(tmp_path / folder)): p.read_bytes() for p in (tmp_path / folder).rglob("*.*")}

    first = files(1, "a")
    assert first == files(1, "b")
    assert not set(first.values()) & set(files(2, "c").values())


def test_a_larger_sample_extends_a_smaller_one() -> None:
    assert make_listings(40, seed=3)[:15] == make_listings(15, seed=3)


def test_the_sample_has_thirteen_categories_and_two_photos_for_most_products() -> None:
    products = make_listings(260, seed=42)
    assert {product.category for product in products} == set(CATEGORIES)
    assert len(CATEGORIES) == 13
    assert any("," in name for name in CATEGORIES)
    two = sum(len(product.image_ids) == 2 for product in products)
    assert two > len(products) / 2


def test_every_kind_of_the_real_listings_defects_is_planted(sample: SampleDump, listings: Path) -> None:
    real = set(pd.read_csv(listings / "defects.csv")["kind"])
    assert set(sample.answers["kind"]) == real


def test_a_clean_sample_has_no_defects() -> None:
    dump = SampleDump(SampleSettings(products=26, seed=1, defect_rate=0.0))
    assert dump.answers.empty
    assert "Â" not in dump.table("products.csv").decode()
    assert len(dump.photo_names()) == len(read_table(dump.table("images.csv"), "images.csv").rows)


def test_local_brings_every_byte(raw: Path, tmp_path: Path, settings: Settings) -> None:
    folder = unpack(raw, tmp_path / "dump")
    (folder / "images" / "a folder").mkdir()
    local = settings.fetch.model_copy(update={"source": "local", "local": LocalSettings(path=str(folder))})
    fetch(open_dump(local), tmp_path / "raw", n_shards=4, limit=None)
    for path in [raw / "products.csv", raw / "images.csv", *shard_paths(raw / "images")]:
        assert (tmp_path / "raw" / path.relative_to(raw)).read_bytes() == path.read_bytes()


def test_local_says_what_is_missing(tmp_path: Path) -> None:
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


def test_a_limit_brings_the_first_products_with_their_rows_and_files(sample: SampleDump, tmp_path: Path) -> None:
    fetch(sample, tmp_path, n_shards=2, limit=30)
    # Parsed another way: the standard library's reader, with the rows cut at line feeds by hand.
    rows = list(csv.DictReader(io.StringIO(sample.table("products.csv").decode().replace("\r", " "))))
    wanted = [row["id"] for row in rows][:30]
    products = read_table((tmp_path / "products.csv").read_bytes(), "products.csv").rows
    images = read_table((tmp_path / "images.csv").read_bytes(), "images.csv").rows
    assert products["id"].drop_duplicates().tolist() == wanted
    assert set(images["product_id"]) <= set(wanted)
    names = {name for shard in shard_paths(tmp_path / "images") for name, _ in read_shard(shard)}
    there = set(sample.photo_names())
    assert names == {f"{image_id}.jpg" for image_id in images["id"]} & there
    assert names
