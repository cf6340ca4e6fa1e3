"""Questions to a finished pipeline, in the library, on the command line and over HTTP."""

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from helpers.paths import ROOT
from helpers.project import Project
from PIL import Image

from marketplace.common.arrays import ShardedArray
from marketplace.common.errors import MarketplaceError
from marketplace.raw.shards import read_shard, shard_paths
from marketplace.recommendation.catalogue import read_catalogue
from marketplace.recommendation.filters import Filters
from marketplace.recommendation.fingerprints import SERVED, fingerprints
from marketplace.recommendation.index import write_index
from marketplace.recommendation.table import origin_of, write_recommendations
from marketplace.serving.api import MAX_UPLOAD, application
from marketplace.serving.recommender import Recommender, UnknownProductError


@pytest.fixture(scope="module")
def recommender(reproduced: Project) -> Recommender:
    return Recommender(reproduced.folder)


@pytest.fixture(scope="module")
def table(reproduced: Project) -> pd.DataFrame:
    return pd.read_parquet(reproduced.folder / "data/clean/training_data.parquet")


@pytest.fixture(scope="module")
def client(recommender: Recommender) -> Iterator[TestClient]:
    with TestClient(application(recommender)) as running:
        yield running


def png_of(reproduced: Project, row: int) -> bytes:
    image = Image.fromarray(ShardedArray(reproduced.folder / "data/resized/full")[row])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_the_index_answers_what_the_table_says(recommender: Recommender, reproduced: Project) -> None:
    listed = pd.read_parquet(reproduced.folder / "data/recommendations.parquet")
    for product_id, rows in list(listed.groupby("product_id"))[:20]:
        found = recommender.similar_to_product(str(product_id), k=10)
        assert [similar.product.product_id for similar in found] == rows["similar_product_id"].tolist()
        np.testing.assert_allclose([similar.score for similar in found], rows["score"], atol=1e-5)
        assert [similar.same_photo for similar in found] == rows["same_photo"].tolist()


@pytest.mark.parametrize("factory", ["HNSW16", "IVF4,Flat", "SQ8", "PCA32,IVF2,SQ8", "IVF4,SQ8,RFlat"])
def test_approximate_indexes_answer_under_filters_too(
    copy_of_reproduced: Project, table: pd.DataFrame, factory: str
) -> None:
    folder = copy_of_reproduced.folder
    catalogue = read_catalogue(folder)
    path = folder / "data/recommendations.parquet"
    words = origin_of(path)[0]
    write_index(folder / "models/similar.index", catalogue.similar(words), factory)
    batches = pq.read_table(path).replace_schema_metadata().to_batches()
    write_recommendations(path, iter(batches), words, fingerprints(folder))
    approximate = Recommender(folder)
    category = table["category"].iloc[0]
    found = approximate.similar_to_product(table["product_id"].iloc[0], 3, Filters(category=category))
    assert {similar.product.category.split(" / ")[0] for similar in found} == {category}


def test_a_photo_of_the_catalogue_finds_its_product_first(
    recommender: Recommender, reproduced: Project, table: pd.DataFrame
) -> None:
    for row in (0, 7, 30):
        found = recommender.similar_to_photo(png_of(reproduced, row), k=3)
        assert found[0].product.product_id in set(table.loc[table["sha256"] == table["sha256"][row], "product_id"])
        assert found[0].score > 0.99


def test_a_file_of_the_catalogue_is_recognised(
    recommender: Recommender, reproduced: Project, table: pd.DataFrame
) -> None:
    photos = photo_files(reproduced)
    found = recommender.similar_to_photo(photos[f"{table['image_id'][0]}.jpg"], k=5)
    assert [similar.same_photo for similar in found] == [True, False, False, False, False]
    assert not any(similar.same_photo for similar in recommender.similar_to_photo(png_of(reproduced, 0), k=5))


def photo_files(reproduced: Project) -> dict[str, bytes]:
    shards = shard_paths(reproduced.folder / "data/raw/images")
    return {name: content for shard in shards for name, content in read_shard(shard)}


def test_filters_hold(recommender: Recommender, table: pd.DataFrame) -> None:
    query = table["product_id"].iloc[0]
    category, location = table["category"].iloc[5], table["location"].iloc[9]
    middle = float(table["price"].astype(float).median())
    everything = len(table)
    for filters, passes in [
        (Filters(category=category), table["category"] == category),
        (Filters(location=location), table["location"] == location),
        (Filters(max_price=middle), table["price"] <= middle),
        (Filters(category=category, min_price=middle), (table["category"] == category) & (table["price"] >= middle)),
        (Filters(category="no such"), table["category"] == "no such"),
    ]:
        ids = {similar.product.product_id for similar in recommender.similar_to_product(query, everything, filters)}
        allowed = set(table.loc[passes, "product_id"]) - {query}
        assert ids <= allowed
        photos = table.groupby("product_id")["sha256"].agg(set)
        names = table.groupby("product_id")["product_name"].first()
        for hidden in allowed - ids:  # only behind another one with the same photo or title
            assert any(photos[hidden] & photos[shown] or names[hidden] == names[shown] for shown in ids), hidden


def test_words_find_names_by_spelling_and_meaning(recommender: Recommender, table: pd.DataFrame) -> None:
    name = table["product_name"].iloc[0].split(" | ")[0]
    for words in (name, name.upper(), name.replace("e", "ee", 1)):
        total, found = recommender.find(words, Filters(), offset=0, limit=5)
        assert 0 < len(found) <= min(5, total)
        assert found[0].name == name
    similar = recommender.similar_to_words(name, k=5)
    assert similar[0].product.name == name
    assert [one.score for one in similar] == sorted((one.score for one in similar), reverse=True)
    category = table["category"].iloc[-1]
    filtered = recommender.similar_to_words(name, 5, Filters(category=category))
    assert {one.product.category.split(" / ")[0] for one in filtered} == {category}


def test_without_words_the_whole_catalogue_is_listed(recommender: Recommender, table: pd.DataFrame) -> None:
    assert recommender.find("zzqx wvvk", Filters(), offset=0, limit=5) == (0, [])
    everything, first = recommender.find(" ", Filters(), offset=0, limit=3)
    assert everything == table["product_id"].nunique()
    assert recommender.find("", Filters(), offset=1, limit=2)[1] == first[1:]


def test_an_unknown_product_brings_the_nearest_ids(recommender: Recommender, table: pd.DataFrame) -> None:
    known = table["product_id"].iloc[0]
    with pytest.raises(UnknownProductError, match=known) as raised:
        recommender.product(known[:-1] + "x")
    assert raised.value.nearest[0] == known


def test_outputs_of_two_runs_are_not_mixed(copy_of_reproduced: Project) -> None:
    folder = copy_of_reproduced.folder
    for name in SERVED:
        path = folder / name if (folder / name).is_file() else folder / name / "tokenizer.json"
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:-20] + content[-20:][::-1])
        with pytest.raises(MarketplaceError, match=rf"{name} is of another run than .*: run `dvc repro`, or `dvc"):
            Recommender(folder)
        path.write_bytes(content)
    Recommender(folder)
    (folder / "models/similar.index").unlink()
    with pytest.raises(MarketplaceError, match="is missing: run `dvc repro` first"):
        Recommender(folder)


def test_a_running_server_keeps_its_models_when_files_are_replaced(
    copy_of_reproduced: Project, table: pd.DataFrame
) -> None:
    folder = copy_of_reproduced.folder
    recommender = Recommender(folder)
    recommender.load_models()
    photo = png_of(copy_of_reproduced, 0)
    before = recommender.similar_to_photo(photo, k=5)
    words = recommender.similar_to_words("red", k=5)
    for name in (*SERVED, "data/resized/full/000.npy"):  # as `dvc checkout` does: other files under the same names
        if (folder / name).is_file():
            (folder / name).unlink()
            (folder / name).write_bytes(b"another run's")
    assert recommender.similar_to_photo(photo, k=5) == before
    assert recommender.similar_to_words("red", k=5) == words
    assert recommender.photo(table["image_id"][0], 64)


def command(project: Project, *arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from marketplace.cli import main; main()", *map(str, arguments)],
        cwd=project.folder,
        env=project.environment(),
        text=True,
        capture_output=True,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def test_the_command_lists_similar_products(reproduced: Project, table: pd.DataFrame, tmp_path: Path) -> None:
    query = table["product_id"].iloc[0]
    listed = command(reproduced, "similar", query, "-k", 4)
    expected = pd.read_parquet(reproduced.folder / "data/recommendations.parquet").query("product_id == @query")
    lines = [line.split() for line in listed.splitlines()[4:]]
    assert [line[-1] for line in lines] == expected["similar_product_id"].tolist()[:4]
    assert [line[0] for line in lines] == ["1", "2", "3", "4"]

    name = table["product_name"].iloc[0].split(" | ")[0]
    assert name in command(reproduced, "similar", "--words", name).splitlines()[3]

    photo, page = tmp_path / "photo.png", tmp_path / "out.html"
    photo.write_bytes(png_of(reproduced, 0))
    category = table["category"].iloc[0]
    listed = command(
        reproduced, "similar", photo, "--category", category.upper(), "--max-price", "£1,000", "--html", page
    )
    assert listed.startswith("Similar to photo.png")
    assert page.read_text().count("data:image/jpeg;base64") == 1 + len(listed.splitlines()) - 3


def test_the_command_explains_mistakes(reproduced: Project, table: pd.DataFrame, tmp_path: Path) -> None:
    query = table["product_id"].iloc[0]
    assert f"The nearest ids: {query}" in command(reproduced, "similar", query[:-2], code=1)
    assert "one of them" in command(reproduced, "similar", code=1)
    assert "one of them" in command(reproduced, "similar", query, "--words", "table", code=1)
    assert "'nowhere/photo.jpg' is neither a product's id nor a file." in command(
        reproduced, "similar", "nowhere/photo.jpg", code=1
    )
    (tmp_path / "page.jpg").write_text("<html>")
    assert "the photo cannot be read: it is not an image" in command(
        reproduced, "similar", tmp_path / "page.jpg", code=1
    )
    assert "no product has the category 'Nothing'" in command(
        reproduced, "similar", query, "--category", "Nothing", code=1
    )
    assert "is not an amount of money, such as 12.50" in command(
        reproduced, "similar", query, "--max-price", "cheap", code=2
    )
    assert "is not a number from 1 to 1000" in command(reproduced, "similar", query, "-k", "0", code=2)


def test_the_lines_of_the_readme_embed_a_photo_without_this_package(
    reproduced: Project, table: pd.DataFrame, tmp_path: Path
) -> None:
    (lines,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "models").symlink_to(reproduced.folder / "models")
    vectors = np.stack(pd.read_parquet(reproduced.folder / "data/embeddings.parquet")["embedding"])
    photos = photo_files(reproduced)
    for row in (0, 50):
        (tmp_path / "photo.jpg").write_bytes(photos[f"{table['image_id'][row]}.jpg"])
        script = f"{lines}\nassert 'marketplace' not in __import__('sys').modules\nprint(*vector)"
        done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, text=True, capture_output=True, check=True)
        vector = np.array(done.stdout.split(), dtype=np.float32)
        assert vector @ vectors[row] > 0.98


def test_help_is_there_for_every_command(reproduced: Project) -> None:
    for arguments in ([], ["similar"], ["serve"]):
        assert "usage: marketplace" in command(reproduced, *arguments, "--help")


def test_the_api_says_what_the_library_does(client: TestClient, recommender: Recommender, table: pd.DataFrame) -> None:
    query = table["product_id"].iloc[0]
    answer = client.get(f"/api/products/{query}/similar", params={"k": 5}).json()
    found = recommender.similar_to_product(query, 5)
    assert [entry["product"]["product_id"] for entry in answer] == [similar.product.product_id for similar in found]
    assert client.get("/api/catalogue").json()["categories"] == sorted(set(table["category"]))
    listed = client.get("/api/products", params={"limit": 2, "offset": 1}).json()
    assert listed["total"] == table["product_id"].nunique() and len(listed["products"]) == 2
    assert client.get(f"/api/products/{query}").json()["product_id"] == query
    schema = client.get("/openapi.json").json()
    assert {"Product", "SimilarProduct", "ProductList", "Catalogue"} <= set(schema["components"]["schemas"])


def test_photos_are_served_and_found(client: TestClient, reproduced: Project, table: pd.DataFrame) -> None:
    photo = client.get(f"/api/photos/{table['image_id'].iloc[0]}")
    assert photo.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(photo.content)).format == "JPEG"
    found = client.post("/api/similar", files={"photo": ("mine.png", png_of(reproduced, 0))}).json()
    assert found[0]["score"] > 0.99


@pytest.mark.parametrize(
    ("name", "content", "status", "says"),
    [
        ("page.jpg", b"<html>", 422, "it is not an image"),
        ("empty.jpg", b"", 422, "the file is empty"),
        ("large.jpg", b"x" * (MAX_UPLOAD + 1), 413, "at most 12 MiB"),
    ],
)
def test_uploads_are_bounded(client: TestClient, name: str, content: bytes, status: int, says: str) -> None:
    answer = client.post("/api/similar", files={"photo": (name, content)})
    assert answer.status_code == status and says in answer.json()["detail"]


def test_a_picture_of_too_many_pixels_is_refused(client: TestClient) -> None:
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    answer = client.post("/api/similar", files={"photo": ("bomb.png", bomb.getvalue())})
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "the photo cannot be read: it has more pixels than any photo.",
    )


def test_an_upload_of_unknown_length_is_read_as_it_comes(client: TestClient, reproduced: Project) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a.png"\r\n\r\n'
    headers = {"content-type": "multipart/form-data; boundary=x"}
    parts = [head, png_of(reproduced, 0), b"\r\n--x--\r\n"]
    answer = client.post("/api/similar", content=iter(parts), headers=headers)
    assert "content-length" not in answer.request.headers
    assert (answer.status_code, answer.json()[0]["rank"]) == (200, 1)


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../server.py",
        "/assets/..%2fserver.py",
        "/assets/index.html",
        "/api/photos/..%2f..%2fparams.yaml",
        "/api/photos/nothing",
        "/api/products/nothing",
        "/params.yaml",
        "/../../etc/passwd",
    ],
)
def test_no_path_leads_out(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("k=0", "k: Input should be greater than or equal to 1."),
        ("k=101", "k: Input should be less than or equal to 100."),
        ("k=many", "k: Input should be a valid integer"),
        ("max_price=-1", "Enter a price such as 12.50."),
        ("min_price=NaN", "Enter a price such as 12.50."),
        ("min_price=cheap&k=5", "Enter a price such as 12.50."),
    ],
)
def test_impossible_questions_are_refused_in_words(
    client: TestClient, table: pd.DataFrame, query: str, says: str
) -> None:
    answer = client.get(f"/api/products/{table['product_id'].iloc[0]}/similar?{query}")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(says)
