"""The data report finds labels that photos and words contradict, and its page shows all findings."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.dumps import fetch_and_clean, noise_photo, small_dump
from playwright.sync_api import Browser, expect

from marketplace.catalogue.clean import CleanDump
from marketplace.catalogue.correction_file import Correction, read_corrections
from marketplace.data_report.doubtful_labels import find_doubtful_labels
from marketplace.data_report.findings import COLUMNS, find_product_pairs, list_findings
from marketplace.data_report.report import MAX_CARDS, CleanTables, Corrections, write_data_report
from marketplace.raw.csv_files import write_csv
from marketplace.raw.shards import read_shard, shard_paths

LABELS = ["product_id", "category", "suggested", "probability", "suggested_probability"]
HOSTILE = "<script>alert(1)</script>"
NO_CORRECTIONS = Corrections(lines=[], applied={})


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> tuple[CleanDump, Path]:
    """A dump with a repeated photo in two categories, a broken file, a file without a row, and hostile texts."""
    folder = tmp_path_factory.mktemp("report")
    dump = small_dump()
    dump.photos["image001.jpg"] = noise_photo(0, quality=50)
    dump.photos["image002.jpg"] = b"<html>"
    dump.photos["stray.jpg"] = noise_photo(500)
    cleaned = fetch_and_clean(dump.write(folder / "dump"), folder)
    cleaned.training_data.loc[0, "product_name"] = HOSTILE  # as if `clean` had not left it out
    return cleaned, folder / "raw"


def make_vectors(table: pd.DataFrame, mislabelled: list[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return outputs of photos and vectors of texts near their category's centre, or near another's if mislabelled."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(4, 32))
    labels = table["label"].where(~table["product_id"].isin(mislabelled), (table["label"] + 1) % 4).to_numpy()
    outputs = centres[labels] + 0.3 * rng.normal(size=(len(table), 32))
    first_rows = table.groupby("product_id", sort=True).head(1).sort_values("product_id").index
    texts = outputs[first_rows, :8]
    return outputs.astype(np.float32), texts / np.linalg.norm(texts, axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(3))
def test_wrong_labels_are_found_and_right_ones_are_not(dump: tuple[CleanDump, Path], seed: int) -> None:
    table = dump[0].training_data
    mislabelled = table["product_id"].drop_duplicates().sample(3, random_state=seed).tolist()
    doubtful = find_doubtful_labels(table, *make_vectors(table, mislabelled, seed))
    assert set(doubtful["product_id"]) == set(mislabelled)
    names = table.groupby("label")["category"].first()
    label_of = table.groupby("product_id")["label"].first()
    expected = [names[(label_of[product_id] + 1) % 4] for product_id in doubtful["product_id"]]
    assert doubtful["suggested"].tolist() == expected
    assert doubtful["probability"].is_monotonic_increasing


def test_findings_name_every_reject_pair_and_label(dump: tuple[CleanDump, Path]) -> None:
    clean_dump, _ = dump
    table = clean_dump.training_data
    doubtful = find_doubtful_labels(table, *make_vectors(table, ["product005"], 0))
    findings = list_findings(table, doubtful, clean_dump.near_duplicates, clean_dump.rejects)
    assert findings.columns.tolist() == COLUMNS
    assert findings["finding"].value_counts().to_dict() == {
        "left out: not an image": 2,  # the row and the file
        "left out: without image": 1,
        "left out: without row": 1,
        "doubtful label": 1,
        "near-identical photos": 1,
    }
    pair = findings[findings["finding"] == "near-identical photos"].iloc[0]
    assert (pair["product_id"], pair["other_product_id"]) == ("product000", "product001")
    assert pair["why"] == "nearly the same photo on products of two categories"


def test_pairs_of_one_product_are_not_listed(dump: tuple[CleanDump, Path]) -> None:
    table = dump[0].training_data.assign(product_id="one")
    assert find_product_pairs(table, dump[0].near_duplicates).empty


def write_report(
    folder: Path, dump: tuple[CleanDump, Path], doubtful: pd.DataFrame, corrections: Corrections = NO_CORRECTIONS
) -> str:
    """Write the report with photos of noise, and return the page."""
    clean_dump, raw = dump
    table = clean_dump.training_data
    images = np.random.default_rng(0).integers(0, 256, (len(table), 64, 64, 3), dtype=np.uint8)
    tables = CleanTables(training_data=table, near_duplicates=clean_dump.near_duplicates, rejects=clean_dump.rejects)
    page = folder / "data.html"
    write_data_report(page, folder / "data.csv", tables, doubtful, corrections, images, raw / "images")
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("mislabelled", [[], ["product005"]], ids=["no doubt", "a doubtful label"])
def test_the_page_and_the_table(dump: tuple[CleanDump, Path], mislabelled: list[str], tmp_path: Path) -> None:
    clean_dump, raw = dump
    table = clean_dump.training_data
    doubtful = find_doubtful_labels(table, *make_vectors(table, mislabelled, 0))
    page = write_report(tmp_path, dump, doubtful)
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page  # the name of a product with a repeated photo
    assert page.count('class="pair"') == 1
    assert "the file is not an image" in page
    stray = [content for shard in shard_paths(raw / "images") for name, content in read_shard(shard) if "stray" in name]
    assert page.count('alt="an example"') == len(stray) == 1
    assert ("None: no category contradicts" in page) == (not mislabelled)
    assert "corrections applied" not in page
    assert len(pd.read_csv(tmp_path / "data.csv")) == 5 + len(mislabelled)


def test_what_people_have_decided_is_counted_and_no_longer_doubtful(
    dump: tuple[CleanDump, Path], tmp_path: Path
) -> None:
    table = dump[0].training_data
    doubtful = find_doubtful_labels(table, *make_vectors(table, ["product005"], 0))
    applied = {"changed": 3, "confirmed": 1, "dropped": 2, "unknown": 0}
    corrections = Corrections(lines=[Correction("product005", "Lamps / Leaf 5", 2)], applied=applied)
    page = write_report(tmp_path, dump, doubtful, corrections)
    assert "corrections applied</dt><dd>6" in page
    assert "3 changed, 1 confirmed" in page
    assert "None: no category contradicts" in page
    assert "doubtful label" not in (tmp_path / "data.csv").read_text()


def test_the_page_collects_corrections_that_clean_can_read(
    dump: tuple[CleanDump, Path], browser: Browser, tmp_path: Path
) -> None:
    ids = dump[0].training_data["product_id"].tolist()
    many = [*ids, *ids[: MAX_CARDS + 3 - len(ids)]]
    doubtful = pd.DataFrame(
        {"product_id": many, "category": "Bags", "suggested": "Lamps", "probability": 0.1, "suggested_probability": 0.8}
    )
    earlier = Corrections(lines=[Correction("=1+1", "drop", 2), Correction("old", "Toys", 3)], applied={})
    write_report(tmp_path, dump, doubtful, earlier)
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto((tmp_path / "data.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    bar = page.get_by_role("region", name="Corrections")
    expect(bar).to_be_hidden()
    first, second, third = (page.locator(f"figure[data-id={product_id}]").first for product_id in ids[4:7])
    address = f"http://localhost:8000/?product={ids[4]}"
    expect(first.get_by_role("link", name="open")).to_have_attribute("href", address)
    first.get_by_role("button", name="Lamps").click()
    second.get_by_role("button", name="Drop").click()
    second.get_by_role("button", name="Right as it is").click()
    third.get_by_role("button", name="Drop").click()
    third.get_by_role("button", name="Drop").click()  # taken back
    page.locator("summary").click()
    expect(page.locator(".further li")).to_have_count(3)
    line = page.locator(".further li").last
    line.get_by_role("button", name="Other").click()
    line.get_by_role("combobox").fill("Toys / Leaf 3")
    line.get_by_role("combobox").press("Enter")
    page.reload()  # the browser has kept them
    expect(bar).to_contain_text("3 corrections")
    expect(first.get_by_role("button", name="Lamps")).to_have_attribute("aria-pressed", "true")
    with page.expect_download() as downloading:
        bar.get_by_role("button", name="Download").click()
    downloading.value.save_as(tmp_path / "corrections.csv")
    page.close()
    own = dump[0].training_data.set_index("product_id")["category_path"][ids[5]]
    assert {row.product_id: row.text for row in read_corrections(tmp_path / "corrections.csv")} == {
        "=1+1": "drop",
        "old": "Toys",
        ids[4]: "Lamps",
        ids[5]: own,
        many[-1]: "Toys / Leaf 3",
    }


def test_ids_that_look_like_numbers_stay_text(tmp_path: Path) -> None:
    dump = small_dump()
    dump.images["id"] = [f"{number:03}" for number in range(len(dump.images))]
    dump.photos = {name.removeprefix("image"): content for name, content in dump.photos.items()}
    dump.photos["001.jpg"] = dump.photos["000.jpg"]
    dump.photos["=1+1.jpg"] = b"no row"
    clean_dump = fetch_and_clean(dump.write(tmp_path / "dump"), tmp_path)
    clean_dump.write(tmp_path / "clean", tmp_path / "clean.json")
    tables = CleanTables.read(tmp_path / "clean")
    pairs = find_product_pairs(tables.training_data, tables.near_duplicates)
    assert pairs[["image_id", "other_image_id"]].to_numpy().tolist() == [["000", "001"]]
    assert "\nfiles,'=1+1,without_row\n" in (tmp_path / "clean/rejects.csv").read_text()
    findings = list_findings(tables.training_data, pd.DataFrame(columns=LABELS), tables.near_duplicates, tables.rejects)
    write_csv(tmp_path / "data.csv", findings)
    assert "=1+1" in findings["image_id"].tolist()
    assert ",'=1+1," in (tmp_path / "data.csv").read_text()
