"""Questions to a finished pipeline over HTTP: what the library says, and nothing that is not asked for."""

import io

import pandas as pd
import pytest
from fastapi.testclient import TestClient
from helpers.filters import example_values, passes
from helpers.photos import png_of
from helpers.project import Project
from PIL import Image

from marketplace.recommendation.filters import CONDITIONS, Filters
from marketplace.recommendation.products import products_of
from marketplace.serving.recommender import Recommender
from marketplace.serving.similarity_routes import MAX_UPLOAD_BYTES


def test_the_api_says_what_the_library_does(client: TestClient, recommender: Recommender, table: pd.DataFrame) -> None:
    query = table["product_id"].iloc[0]
    answer = client.get(f"/api/products/{query}/similar", params={"k": 5}).json()
    found = recommender.similar_to_product(query, 5)
    assert [entry["product"]["product_id"] for entry in answer] == [similar.product.product_id for similar in found]
    filters = {entry["name"]: entry for entry in client.get("/api/catalogue").json()["filters"]}
    assert filters["category"]["choices"] == sorted(set(table["category"]))
    listed = client.get("/api/products", params={"limit": 2, "offset": 1}).json()
    assert listed["total"] == table["product_id"].nunique() and len(listed["products"]) == 2
    by_category = table.drop_duplicates("product_id")["category"].value_counts().to_dict()
    assert listed["categories"] == by_category
    one = client.get("/api/products", params={"category": table["category"].iloc[0]}).json()
    assert (one["total"], one["categories"]) == (by_category[table["category"].iloc[0]], by_category)
    other = found[0].product.product_id
    why = client.get(f"/api/products/{query}/similar/{other}").json()
    assert why["score"] == pytest.approx(found[0].score, abs=1e-5)
    assert client.get(f"/api/products/{query}/similar/nothing").status_code == 404
    assert client.get(f"/api/products/{query}").json()["product_id"] == query
    schema = client.get("/openapi.json").json()
    assert {"Answer", "Product", "SimilarProduct", "ProductList", "CatalogueOptions"} <= set(
        schema["components"]["schemas"]
    )


@pytest.mark.parametrize("name", CONDITIONS)
def test_each_filter_is_a_parameter(client: TestClient, table: pd.DataFrame, name: str) -> None:
    products = products_of(table).table
    for value in example_values(products, name):
        expected = passes(products, Filters(**{name: value})).sum()
        assert client.get("/api/products", params={name: value}).json()["total"] == expected
    (parameter,) = [
        parameter
        for parameter in client.get("/openapi.json").json()["paths"]["/api/products"]["get"]["parameters"]
        if parameter["name"] == name
    ]
    assert parameter["description"] == CONDITIONS[name].help


def test_photos_are_served_and_found(client: TestClient, reproduced: Project, table: pd.DataFrame) -> None:
    photo = client.get(f"/api/photos/{table['image_id'].iloc[0]}")
    assert photo.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(photo.content)).format == "JPEG"
    found = client.post("/api/similar", files={"photo": ("mine.png", png_of(reproduced, 0))}).json()
    assert found["same"][0]["score"] > 0.99


@pytest.mark.parametrize(
    ("name", "content", "status", "says"),
    [
        ("page.jpg", b"<html>", 422, "it is not an image"),
        ("empty.jpg", b"", 422, "the file is empty"),
        ("large.jpg", b"x" * (MAX_UPLOAD_BYTES + 1), 413, "at most 12 MiB"),
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
        "the photo cannot be read: it has too many pixels.",
    )


def test_an_upload_of_unknown_length_is_read_as_it_comes(client: TestClient, reproduced: Project) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a.png"\r\n\r\n'
    headers = {"content-type": "multipart/form-data; boundary=x"}
    parts = [head, png_of(reproduced, 0), b"\r\n--x--\r\n"]
    answer = client.post("/api/similar", content=iter(parts), headers=headers)
    assert "content-length" not in answer.request.headers
    assert (answer.status_code, answer.json()["similar"][0]["rank"]) == (200, 1)


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
        ("max_price=-1", "Highest price: enter an amount such as 12.50."),
        ("min_price=NaN", "Lowest price: enter an amount such as 12.50."),
        ("min_price=cheap&k=5", "Lowest price: enter an amount such as 12.50."),
    ],
)
def test_impossible_questions_are_refused_in_words(
    client: TestClient, table: pd.DataFrame, query: str, says: str
) -> None:
    answer = client.get(f"/api/products/{table['product_id'].iloc[0]}/similar?{query}")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(says)
