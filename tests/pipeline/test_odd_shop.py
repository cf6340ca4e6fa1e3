"""A whole pipeline on a dump with odd ids and without prices, in a folder of a larger repository."""

import json
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest
from fastapi.testclient import TestClient
from helpers.dumps import ODD_IDS, noise_photo, odd_dump
from helpers.project import COMMAND, Project, ran

from marketplace.serving.application import create_application
from marketplace.serving.recommender import Recommender

FITTED = ("train_small", "train_full", "fit")


@pytest.fixture(scope="module")
def client(odd_shop: Project) -> Iterator[TestClient]:
    with TestClient(create_application(Recommender(odd_shop.folder))) as client:
        yield client


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("product_id", ODD_IDS)
def test_any_id_is_an_address(client: TestClient, product_id: str) -> None:
    for spelled in {product_id, composed(product_id)}:
        address = f"/api/products/{quote(spelled, safe='')}"
        product = client.get(address).json()
        assert product["product_id"] == composed(product_id)
        similar = client.get(f"{address}/similar", params={"k": 3}).json()
        assert len(similar) == 3
        photo = client.get(f"/api/photos/{quote(product['image_ids'][0], safe='')}")
        assert photo.headers["content-type"] == "image/jpeg"


def test_any_id_is_found_on_the_command_line_before_a_file_is(odd_shop: Project, tmp_path: Path) -> None:
    (odd_shop.folder / "photo.png").write_bytes(b"not a photo")
    try:
        for product_id in ("a/similar", "v1.2.jpg", "photo.png", "Cafe\u0301", "#1 50%"):
            output = odd_shop.marketplace("similar", product_id)
            assert output.startswith("Similar to Thing"), output
            assert "recommended" in odd_shop.marketplace("lineage", product_id)
    finally:
        (odd_shop.folder / "photo.png").unlink()


def test_a_product_without_a_price_says_so_everywhere(odd_shop: Project, client: TestClient) -> None:
    assert client.get("/api/products/a").json()["price"] is None
    assert client.get("/api/products/UPPER%20case").json() | {"image_ids": []} == {
        "product_id": "UPPER case",
        "name": "Thing 7",
        "description": "Second-hand.",
        "category": "Toys / Leaf 7",
        "price": "7.50",
        "currency": "€",
        "location": "Leeds, Yorkshire",
        "image_ids": [],
    }
    priced = client.get("/api/products", params={"min_price": "0", "limit": 100}).json()
    assert priced["total"] == 61
    assert "no price" in odd_shop.marketplace("similar", "a")
    gallery = (odd_shop.folder / "reports/gallery.html").read_text()
    assert "£" not in gallery


def test_a_console_that_cannot_show_a_character_is_no_error(odd_shop: Project) -> None:
    environment = {**odd_shop.environment(), "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "similar", "what?"],
        cwd=odd_shop.folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "?" in done.stdout


def test_commands_about_history_work_in_a_folder_of_a_repository(odd_shop: Project) -> None:
    assert "dvc.lock is up to date" in odd_shop.marketplace("check")
    assert "0 of" not in odd_shop.marketplace("lineage", "models/full.pt")
    assert "reproduced" in odd_shop.marketplace("lineage", "data/embeddings.parquet")
    metrics = odd_shop.folder / "metrics/summary.json"
    before = metrics.read_text()
    values = json.loads(before)
    metrics.write_text(json.dumps(values | {"accuracy": values["accuracy"] - 0.25}))
    odd_shop.run("git", "commit", "-qam", "worse")
    try:
        for revisions in (["HEAD"], ["HEAD~1", "HEAD"]):
            output = odd_shop.marketplace("review", *revisions, code=None)
            assert "has no metrics" not in output
            assert "Traceback" not in output
        assert "accuracy" in output
    finally:
        odd_shop.run("git", "reset", "-q", "--hard", "HEAD~1")


def test_new_listings_go_through_with_the_model_as_it_is(odd_shop: Project, tmp_path: Path) -> None:
    """Of a category among them that the model has never seen."""
    folder = tmp_path / "repository"
    subprocess.run(["cp", "-r", odd_shop.folder.parent, folder], check=True)
    shop = Project.at(folder / "shop")
    dump = odd_dump()
    n = len(dump.products)
    new = dump.products.tail(6).assign(
        id=[f"new{number}" for number in range(6)],
        product_name=[f"Novelty {number}" for number in range(6)],
        category="Accordions / Old",
    )
    dump.products = pd.concat([dump.products, new], ignore_index=True)
    images = pd.DataFrame({"id": [f"newimage{number}" for number in range(6)], "product_id": new["id"].to_numpy()})
    dump.images = pd.concat([dump.images, images], ignore_index=True)
    dump.photos |= {f"{image_id}.jpg": noise_photo(n + number) for number, image_id in enumerate(images["id"])}
    shop.set(**{"fetch.local.path": str(dump.write(tmp_path / "dump"))})
    shop.dvc("freeze", *FITTED)
    output = shop.dvc("repro")
    assert set(FITTED).isdisjoint(ran(output))
    assert "the model was trained before there were Accordions: photos in new categories count as errors" in output
    recommended = pd.read_parquet(shop.folder / "data/recommendations.parquet")
    assert set(new["id"]) <= set(recommended["product_id"])
    categories = json.loads((shop.folder / "metrics/evaluate/per_category.json").read_text())
    (accordions,) = (row for row in categories if row["category"] == "Accordions")
    assert accordions["recall"] == 0
    for file, id_column, columns in (
        ("data/embeddings.parquet", "image_id", ["identity", "kind", "title", "path", "category"]),
        ("data/text_embeddings.parquet", "product_id", ["text", "title", "path"]),
    ):
        before, after = (
            pd.read_parquet(project.folder / file).set_index(id_column)[columns].map(tuple)
            for project in (odd_shop, shop)
        )
        assert len(after) > len(before)
        pd.testing.assert_frame_equal(after.loc[before.index], before)
