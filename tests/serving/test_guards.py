"""The server against clients that lie, stall or come in crowds: real sockets, a real server."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi.testclient import TestClient
from helpers.project import Project
from helpers.servers import free_port
from starlette.types import Message

from marketplace.serving import guards
from marketplace.serving.application import create_application
from marketplace.serving.recommender import QUEUE_CAPACITY, Recommender
from marketplace.serving.similarity_routes import MAX_UPLOAD_BYTES

HEAD = "POST /api/similar HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
PART = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'


@pytest.fixture(scope="module")
def recommender(reproduced: Project) -> Recommender:
    return Recommender(reproduced.folder)


@pytest.fixture
def server(recommender: Recommender, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[uvicorn.Server, int]]:
    """A running server that is patient for half a second, and its port."""
    monkeypatch.setattr(guards, "STALL_SECONDS", 0.5)
    port = free_port()
    config = uvicorn.Config(
        create_application(recommender), port=port, log_level="warning", timeout_graceful_shutdown=2
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.02)
    yield running, port
    running.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


def answer_to(port: int, *parts: bytes) -> bytes:
    """What the server says to these bytes, until it closes the connection or falls silent."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        try:
            for part in parts:
                client.sendall(part)
        except OSError:  # it has seen enough
            pass
        said = b""
        try:
            while more := client.recv(65536):
                said += more
        except (TimeoutError, ConnectionResetError):
            pass
        return said


def test_what_is_read_is_bounded_whatever_is_announced(
    server: tuple[uvicorn.Server, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short Content-Length beside chunks, which win: a server that believed the first read 400 MiB."""
    read = []
    receive = guards._Body.receive

    async def counted(self: guards._Body) -> Message:
        message = await receive(self)
        read.append(self._n_bytes)
        return message

    monkeypatch.setattr(guards._Body, "receive", counted)
    head = f"{HEAD}Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
    chunk = b"%x\r\n%b\r\n" % (2**20, bytes(2**20))
    first = b"%x\r\n%b\r\n" % (len(PART), PART)
    said = answer_to(server[1], head + first, *[chunk] * 32)
    assert said == b"" or said.split(b" ")[1] in (b"400", b"411", b"413")
    assert max(read, default=0) <= MAX_UPLOAD_BYTES + 2**20


def test_a_body_that_does_not_come_is_given_up(server: tuple[uvicorn.Server, int]) -> None:
    started = time.monotonic()
    said = answer_to(server[1], f"{HEAD}Content-Length: 100000\r\n\r\n".encode() + PART)
    assert time.monotonic() - started < 4
    assert said.startswith(b"HTTP/1.1 408")
    assert b"the rest of the photo did not arrive" in said


def test_a_half_sent_upload_does_not_hold_up_a_shutdown(server: tuple[uvicorn.Server, int]) -> None:
    running, port = server
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(f"{HEAD}Content-Length: 100000\r\n\r\n".encode() + PART)
        time.sleep(0.2)
        running.should_exit = True
        started = time.monotonic()
        while running.started and time.monotonic() - started < 6 and not client_is_closed(client):
            time.sleep(0.1)
        assert time.monotonic() - started < 6


def client_is_closed(client: socket.socket) -> bool:
    client.settimeout(0.1)
    try:
        return client.recv(65536) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_a_crowd_of_photos_is_told_to_come_back(recommender: Recommender) -> None:
    for _ in range(QUEUE_CAPACITY):
        recommender.queue._slots.acquire()
    try:
        with TestClient(create_application(recommender)) as client:
            answer = client.post("/api/similar", files={"photo": ("a.jpg", b"x")})
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
            assert client.get("/api/products").status_code == 200
    finally:
        for _ in range(QUEUE_CAPACITY):
            recommender.queue._slots.release()
    with TestClient(create_application(recommender)) as client:
        assert client.post("/api/similar", files={"photo": ("a.jpg", b"x")}).status_code == 422
        assert client.get("/health").json() == {"status": "ok"}


def test_a_photo_that_is_there_already_is_not_sent_again(recommender: Recommender) -> None:
    with TestClient(create_application(recommender)) as client:
        product = client.get("/api/products", params={"limit": 1}).json()["products"][0]
        address = f"/api/photos/{product['image_ids'][0]}"
        first = client.get(address)
        again = client.get(address, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        large = client.get(address, params={"size": 640}, headers={"If-None-Match": first.headers["ETag"]})
        assert large.status_code == 200
        head = client.head(address)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["Content-Length"] == first.headers["Content-Length"]


def test_only_the_hosts_that_it_serves_are_answered(recommender: Recommender) -> None:
    with TestClient(create_application(recommender, ["localhost"])) as client:
        for host, status in (("localhost:8000", 200), ("evil.example", 400)):
            assert client.get("/api/catalogue", headers={"Host": host}).status_code == status
