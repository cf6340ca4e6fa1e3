"""Requests that are too large, or take long: they are refused, or hold up nobody who asks whether the server runs."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from helpers.serve import Server
from helpers.servers import free_port
from starlette.types import ASGIApp

from marketplace.recommendation.filters import Filters
from marketplace.serving import guards
from marketplace.serving.answers import Place
from marketplace.serving.application import create_application
from marketplace.serving.ids import MAX_COMPARED_IDS, Ids
from marketplace.serving.own_loop import OwnLoop
from marketplace.serving.recommender import Recommender
from marketplace.serving.schema import MAX_ID_LENGTH

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
PART = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'


def ask(
    port: int,
    path: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    """The status and the body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def longest_wait(port: int, work: Callable[[], object]) -> float:
    """The longest time in seconds that /health takes while some work is done."""
    longest = 0.0
    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(work)
        while not working.done():
            started = time.monotonic()
            assert ask(port, "/health")[0] == 200
            longest = max(longest, time.monotonic() - started)
            time.sleep(0.01)
        working.result()
    return longest


@contextmanager
def running(app: ASGIApp) -> Iterator[int]:
    """The port of a server in this process."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, http="h11", log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield port
    server.should_exit = True
    thread.join(10)


def test_every_parameter_is_bounded(client: TestClient) -> None:
    operations = [one for path in client.get("/openapi.json").json()["paths"].values() for one in path.values()]
    parameters = [parameter for operation in operations for parameter in operation.get("parameters", [])]
    assert len(parameters) > 30
    for parameter in parameters:
        schema = parameter["schema"]
        if "items" in schema:
            assert "maxItems" in schema, parameter["name"]
            schema = schema["items"]
        assert schema.keys() & {"maxLength", "maximum", "exclusiveMaximum", "enum"}, parameter["name"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/products/{}",
        "/api/products/{}/similar",
        "/api/products/{}/feedback",
        "/api/products/{}/compared",
        "/api/products/x/similar/{}",
        "/api/products/x/similar/{}/heat",
        "/api/photos/{}",
        "/api/products?words={}",
        "/api/products?category={}",
        "/api/map?location={}",
        "/api/map?min_price={}",
        "/api/products?offset={}",
        "/nothing/{}",
    ],
)
def test_long_parameters_are_refused(client: TestClient, path: str) -> None:
    longest = "%F0%9F%98%80" * MAX_ID_LENGTH
    assert client.get(path.format(longest + "%F0%9F%98%80")).status_code in (404, 422)
    assert client.get(path.format("1" * 60_000)).status_code == 413
    assert client.get(f"/api/products/{longest}/similar/{'1' * MAX_ID_LENGTH}").status_code == 404


def test_suggestions_take_no_time_for_what_nobody_types() -> None:
    ids = Ids({f"{number:08}-listing": number for number in range(10 * MAX_COMPARED_IDS)})
    assert ids.suggest("00099999-lsiting")[0] == "00099999-listing"
    started = time.monotonic()
    assert ids.suggest("x" * 60_000) == []
    assert len(ids.suggest("00100000-listingg")) == 3
    assert time.monotonic() - started < 0.5  # comparing all takes longer


@pytest.mark.parametrize(
    ("method", "headers"), [("PUT", JSON), ("POST", {"Content-Type": "application/x-www-form-urlencoded"})]
)
def test_only_photos_may_be_large(client: TestClient, method: str, headers: dict[str, str]) -> None:
    path = "/api/products/a/similar/b/judgement" if method == "PUT" else "/api/similar"
    contents: list[bytes | Iterator[bytes]] = [b" " * 5_000, iter([b" " * 3_000] * 2)]
    for content in contents:
        answer = client.request(method, path, content=content, headers=headers)
        assert (answer.status_code, answer.json()["detail"]) == (413, "the body may have at most 4096 bytes")


def test_uploads_at_a_time_are_bounded(recommender: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "MAX_UPLOADS", 1)
    arrived = threading.Event()
    done = threading.Event()

    def half_a_photo() -> Iterator[bytes]:
        yield PART
        arrived.set()
        done.wait(20)
        yield b"x\r\n--x--\r\n"

    with running(create_application(recommender)) as port, ThreadPoolExecutor(1) as thread:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        sending = thread.submit(connection.request, "POST", "/api/similar", half_a_photo(), FORM)
        assert arrived.wait(10)
        deadline = time.monotonic() + 10
        while ask(port, "/api/similar", "POST", PART + b"x\r\n--x--\r\n", FORM)[0] != 503:
            assert time.monotonic() < deadline
        assert ask(port, "/api/products")[0] == 200
        done.set()
        sending.result()
        assert connection.getresponse().status == 422
        connection.close()
        assert ask(port, "/api/similar", "POST", PART + b"x\r\n--x--\r\n", FORM)[0] == 422


def test_health_needs_no_thread_of_the_page(recommender: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()

    def slow_places(_: Filters) -> list[Place]:
        done.wait(20)
        return []

    monkeypatch.setattr(recommender, "places", slow_places)
    with running(OwnLoop(create_application(recommender))) as port, ThreadPoolExecutor(50) as crowd:
        waiting = [crowd.submit(ask, port, "/api/map") for _ in range(50)]
        time.sleep(0.5)
        try:
            assert longest_wait(port, lambda: time.sleep(0.2)) < 1
        finally:
            done.set()
        assert {asked.result() for asked in waiting} == {(200, b"[]")}


def test_health_does_not_wait_for_a_request_that_blocks_its_loop() -> None:
    app = FastAPI()

    @app.get("/health")
    async def health() -> str:
        return "ok"

    @app.get("/api/slow")
    async def slow() -> str:
        time.sleep(2)
        return "done"

    with running(OwnLoop(app)) as port:
        assert longest_wait(port, lambda: ask(port, "/api/slow")) < 1


def test_health_answers_whatever_else_runs(server: Server) -> None:
    near_boundaries = PART + b"\r\n--" * 500_000 + b"\r\n--x--\r\n"

    def attack() -> None:
        with ThreadPoolExecutor(20) as crowd:
            answers = [crowd.submit(ask, server.port, "/api/map/legend")]
            for _ in range(30):
                answers.append(crowd.submit(ask, server.port, f"/api/products/{'x' * 60_000}"))
                answers.append(crowd.submit(ask, server.port, f"/api/products/{'x' * 90}"))
                answers.append(crowd.submit(ask, server.port, "/api/products?limit=100"))
            answers += [crowd.submit(ask, server.port, "/api/similar", "POST", near_boundaries, FORM) for _ in range(4)]
            assert {answer.result()[0] for answer in answers} == {200, 404, 413, 422}

    assert longest_wait(server.port, attack) < 1  # 0.1 on a machine that does nothing else
