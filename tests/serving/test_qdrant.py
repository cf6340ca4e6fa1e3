"""A Qdrant in place of the indexes: the same answers, and plain words when it cannot give them.

Qdrant's own client works on a folder here, without a server.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from helpers.filters import example_filters
from helpers.project import Project
from helpers.servers import free_port

from marketplace.common.errors import MarketplaceError, UnavailableError
from marketplace.raw.shards import read_shard, shard_paths
from marketplace.recommendation.catalogue import read_catalogue
from marketplace.recommendation.filters import Filters
from marketplace.recommendation.fingerprints import fingerprints
from marketplace.recommendation.products import products_of
from marketplace.serving import qdrant, qdrant_export
from marketplace.serving.answers import SimilarProduct
from marketplace.serving.application import create_application
from marketplace.serving.question import Photo, Question
from marketplace.serving.recommender import Recommender


@pytest.fixture
def exported(reproduced: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    """A folder with the vectors of the reproduced project, and its client, which the recommender uses too."""
    url = str(tmp_path / "qdrant")
    client = qdrant.connect(url)
    fill(reproduced, client, url)
    monkeypatch.setenv(qdrant.URL_VARIABLE, url)
    monkeypatch.setattr(qdrant, "connect", lambda _: client)  # a folder has one client at a time
    yield url, client
    client.close()


def fill(project: Project, client: Any, url: str) -> None:
    catalogue = read_catalogue(project.folder)
    qdrant_export.export(client, url, catalogue, qdrant.collection_name(fingerprints(project.folder)))


def told(found: list[SimilarProduct]) -> list[tuple[object, ...]]:
    scores = [pytest.approx(one.score, abs=1e-5) for one in found]
    return [
        (one.product.product_id, score, one.same_photo, one.same_text) for one, score in zip(found, scores, strict=True)
    ]


def test_answers_are_those_of_the_indexes(
    reproduced: Project, exported: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from_database = Recommender(reproduced.folder)
    monkeypatch.delenv(qdrant.URL_VARIABLE)
    from_indexes = Recommender(reproduced.folder)
    table = pd.read_parquet(reproduced.folder / "data/clean/training_data.parquet")
    photos = dict(list(read_shard(shard_paths(reproduced.folder / "data/raw/images")[0]))[:2])
    for filters in example_filters(products_of(table).table):
        for product_id in table["product_id"].unique()[:8]:
            expected = told(from_indexes.similar_to_product(product_id, 10, filters))
            assert told(from_database.similar_to_product(product_id, 10, filters)) == expected
        for content in photos.values():
            question = Question(photo=Photo(content), k=5, filters=filters)
            whole = from_indexes.ask(question)
            answer = from_database.ask(question)
            assert told(answer.same) == told(whole.same)
            assert told(answer.similar) == told(whole.similar)
    assert told(from_database.similar_to_product(product_id, 60)) == told(
        from_indexes.similar_to_product(product_id, 60)
    )


def test_what_is_deleted_is_not_recommended_and_an_export_brings_it_back(
    reproduced: Project, exported: tuple[str, Any]
) -> None:
    url, client = exported
    recommender = Recommender(reproduced.folder)
    product_id = read_catalogue(reproduced.folder).products.table["product_id"].iloc[0]
    before = recommender.similar_to_product(product_id, 5)
    sold = before[0].product
    client.delete(qdrant.ALIAS, points_selector=[qdrant.point_id(image_id) for image_id in sold.image_ids])
    client.upsert(qdrant.ALIAS, points=[stranger(client)])  # of a catalogue that this one does not know
    after = recommender.similar_to_product(product_id, 4)
    assert told(after) == told(before)[1:]
    fill(reproduced, client, url)  # only what is missing is sent, and the stranger goes
    assert told(recommender.similar_to_product(product_id, 5)) == told(before)
    assert client.count(qdrant.ALIAS).count == len(read_catalogue(reproduced.folder).photos)


def stranger(client: Any) -> Any:
    from qdrant_client import models

    points, _ = client.scroll(qdrant.ALIAS, limit=1, with_vectors=True, with_payload=True)
    payload = points[0].payload | {"product_id": "stranger"}
    return models.PointStruct(id=qdrant.point_id("stranger"), vector=points[0].vector, payload=payload)


def test_another_price_makes_another_collection(reproduced: Project) -> None:
    files = fingerprints(reproduced.folder)
    changed = files | {"data/clean/training_data.parquet": "0" * 64}
    assert qdrant.collection_name(files) != qdrant.collection_name(changed)


def test_an_interrupted_export_leaves_the_answers_and_goes_on_where_it_ended(
    reproduced: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "marketplace")
    client = qdrant.connect(str(tmp_path / "qdrant"))
    monkeypatch.setattr(qdrant_export, "POINTS_AT_ONCE", 40)
    n = len(read_catalogue(reproduced.folder).photos)
    sent: list[None] = []
    upsert = client.upsert

    def interrupted(*arguments: Any, **options: Any) -> None:
        if len(sent) == 2:
            raise KeyboardInterrupt
        sent.append(upsert(*arguments, **options))

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(client, "upsert", interrupted)
        fill(reproduced, client, "folder")
    assert qdrant.aliased_collection(client) is None
    fill(reproduced, client, "folder")
    assert f"{n - 80} new photos, 0 deleted" in caplog.text
    assert qdrant.aliased_collection(client) == qdrant.collection_name(fingerprints(reproduced.folder))
    assert client.count(qdrant.ALIAS).count == n


def test_the_vectors_of_another_run_are_refused(reproduced: Project, exported: tuple[str, Any]) -> None:
    url, client = exported
    client.create_collection("of-yesterday", vectors_config={})
    qdrant_export.point_alias(client, "of-yesterday")
    with pytest.raises(MarketplaceError, match=f"answers from of-yesterday, .* run `marketplace export qdrant {url}`"):
        Recommender(reproduced.folder)


def test_a_running_server_stays_with_its_collection(reproduced: Project, exported: tuple[str, Any]) -> None:
    _, client = exported
    recommender = Recommender(reproduced.folder)
    product_id = read_catalogue(reproduced.folder).products.table["product_id"].iloc[0]
    before = told(recommender.similar_to_product(product_id, 5))
    collection = qdrant.aliased_collection(client)
    client.create_collection("of-tomorrow", vectors_config={})
    qdrant_export.point_alias(client, "of-tomorrow")
    assert told(recommender.similar_to_product(product_id, 5)) == before
    recommender.check_ready()
    client.delete_collection(collection)
    with pytest.raises(UnavailableError, match="does not answer as expected"):
        recommender.check_ready()


def test_an_empty_database_is_told(reproduced: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(qdrant.URL_VARIABLE, str(tmp_path))
    with pytest.raises(MarketplaceError, match="has no vectors: run `marketplace export qdrant"):
        Recommender(reproduced.folder)


def test_a_photos_question_asks_seldom(
    reproduced: Project, exported: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = exported
    recommender = Recommender(reproduced.folder)
    content = dict(list(read_shard(shard_paths(reproduced.folder / "data/raw/images")[0]))[:1]).popitem()[1]
    requests: list[None] = []
    retrieve = client.retrieve

    def count_requests(*arguments: Any, **options: Any) -> Any:
        requests.append(None)
        return retrieve(*arguments, **options)

    monkeypatch.setattr(client, "retrieve", count_requests)
    category = recommender.table.choices("category")[0]
    assert recommender.ask(Question(photo=Photo(content), filters=Filters(category=category))).similar
    assert len(requests) <= 2


def test_a_database_that_fails_later_is_a_503(
    reproduced: Project, exported: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = exported
    recommender = Recommender(reproduced.folder)
    product_id = read_catalogue(reproduced.folder).products.table["product_id"].iloc[0]
    monkeypatch.setattr(client, "query_points", no_answer)
    with TestClient(create_application(recommender)) as browser:
        answer = browser.get(f"/api/products/{product_id}/similar")
    assert answer.status_code == 503
    assert "does not answer as expected" in answer.json()["detail"]


def no_answer(*_: Any, **__: Any) -> None:
    raise ConnectionRefusedError(111, "Connection refused")


def test_where_no_qdrant_answers_the_command_says_so(reproduced: Project) -> None:
    said = reproduced.marketplace("export", "qdrant", f"http://127.0.0.1:{free_port()}", code=1)
    assert "ERROR: the Qdrant at http://127.0.0.1:" in said
    assert "does not answer as expected" in said
    assert "Traceback" not in said


class OldQdrant(BaseHTTPRequestHandler):
    """What a Qdrant of 2022 says about itself."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({"title": "qdrant", "version": "0.11.0", "commit": "x"}).encode())

    def log_message(self, *_: object) -> None:
        pass


def test_a_qdrant_of_another_version_is_refused() -> None:
    with HTTPServer(("127.0.0.1", 0), OldQdrant) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(MarketplaceError, match=r"has version 0\.11\.0, which does not work with the client"):
            qdrant.connect(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()


# When Qdrant's client cannot lock a folder, it leaves the lock's file open.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_folder_that_another_program_works_on_is_told(tmp_path: Path) -> None:
    client = qdrant.connect(str(tmp_path))
    with pytest.raises(MarketplaceError, match="another program is using the Qdrant folder"):
        qdrant.connect(str(tmp_path))
    client.close()


def test_the_command_fills_it_and_similar_answers_from_it(
    reproduced: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product_id = read_catalogue(reproduced.folder).products.table["product_id"].iloc[1]
    expected = reproduced.marketplace("similar", product_id)
    said = reproduced.marketplace("export", "qdrant", str(tmp_path / "qdrant"))
    assert "`marketplace serve` uses it" in said
    monkeypatch.setenv(qdrant.URL_VARIABLE, str(tmp_path / "qdrant"))
    assert reproduced.marketplace("similar", product_id) == expected


def test_rows_without_a_point_are_left_out(reproduced: Project, exported: tuple[str, Any]) -> None:
    url, client = exported
    catalogue = read_catalogue(reproduced.folder)
    products = catalogue.products
    points = qdrant.point_ids(products)
    search = qdrant.QdrantSearch(client, url, qdrant.IDENTITY, points, products.product_of_row)
    rows = np.array([5, 0, 3])
    np.testing.assert_allclose(search.vectors_of(rows), catalogue.identity[rows], rtol=1e-6)
    client.delete(qdrant.ALIAS, points_selector=[qdrant.point_id(catalogue.products.image_ids[0])])
    np.testing.assert_allclose(search.vectors_of(rows), catalogue.identity[np.array([5, 3])], rtol=1e-6)
