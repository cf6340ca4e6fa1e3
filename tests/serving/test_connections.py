"""Clients that are slow, silent or many, against the real server with its own connections."""

import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import uvicorn
from helpers.project import Project
from helpers.servers import free_port
from starlette.types import Receive, Scope, Send

from marketplace.serving import connections
from marketplace.serving.connections import BACKLOG, BoundedConnection, most_connections

LARGE = bytes(64 * 2**20)
QUESTION = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def large_answer(scope: Scope, receive: Receive, send: Send) -> None:
    """An application whose answer fills every buffer; `/small` is one byte."""
    if scope["type"] == "http":
        body = b"x" if scope["path"] == "/small" else LARGE
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server with little patience and room for four."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.5)
    monkeypatch.setattr(connections, "READ_SECONDS", 0.5)
    monkeypatch.setattr(BoundedConnection, "most_connections", 4)
    number = free_port()
    config = uvicorn.Config(large_answer, port=number, http=BoundedConnection, log_level="warning", lifespan="off")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.02)
    yield number
    running.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        yield client


def answer(client: socket.socket, path: str) -> bytes:
    """The whole answer to a question; the connection stays."""
    client.sendall(QUESTION.replace(b"/ ", f"{path} ".encode()))
    said = b""
    while not (said.endswith(b"x") or said.endswith(b"}")):
        said += client.recv(65536)
    return said


def seconds_until_closed(client: socket.socket) -> float:
    started = time.monotonic()
    try:
        while client.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - started


def test_a_client_that_asks_nothing_is_cut(port: int) -> None:
    with connected(port) as client:
        assert seconds_until_closed(client) < 2


def test_headers_that_come_letter_by_letter_are_cut(port: int) -> None:
    with connected(port) as client:
        started = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - started < 4:
                client.sendall(b"G")
                time.sleep(0.05)
        assert time.monotonic() - started < 3


def test_a_second_request_has_no_more_time_than_the_first(port: int) -> None:
    with connected(port) as client:
        for _ in range(3):  # a kept connection is as good as a new one
            assert answer(client, "/small").startswith(b"HTTP/1.1 200")
            time.sleep(0.3)
        client.sendall(QUESTION[:20])
        assert seconds_until_closed(client) < 2


def test_a_client_that_does_not_read_is_cut(port: int) -> None:
    with connected(port) as client:
        client.sendall(QUESTION)
        time.sleep(1.5)
        received = 0
        try:
            while part := client.recv(2**20):
                received += len(part)
        except ConnectionResetError:
            pass
        assert received < len(LARGE)


def test_a_client_that_reads_slowly_gets_everything(port: int) -> None:
    with connected(port) as client:
        client.sendall(QUESTION.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        received, slow_until = 0, time.monotonic() + 1.5
        while part := client.recv(2**20):
            received += len(part)
            if time.monotonic() < slow_until:
                time.sleep(0.1)
        assert received >= len(LARGE)


def test_who_is_too_many_is_sent_away_and_others_are_not(port: int) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(port)) for _ in range(5)]
        assert clients[4].recv(65536).startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5")
        assert answer(clients[0], "/small").startswith(b"HTTP/1.1 200")


def test_connections_fit_into_the_open_files_that_are_allowed() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    script = "import resource as r, sys; from marketplace.serving.connections import most_connections as most\n"
    script += "r.setrlimit(r.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))\n"
    script += "print(most(), r.getrlimit(r.RLIMIT_NOFILE)[0])"
    for soft, hard, most, raised in ((256, 4096, 500, 1200), (256, 600, 200, 600), (256, 256, 28, 256)):
        found = subprocess.check_output([sys.executable, "-c", script, str(soft), str(hard)], text=True)
        assert [int(number) for number in found.split()] == [most, raised]
    assert most_connections() == connections.MOST_CONNECTIONS and BACKLOG < 200
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_crowd_at_the_limit_of_open_files_fills_no_log(reproduced: Project, tmp_path: Path) -> None:
    """Three times as many connections as the server may have files: it goes on, and says little."""
    port, log = free_port(), tmp_path / "log"
    program = f"{sys.executable} -c 'from marketplace.cli import main; main()'"
    command = f"ulimit -Sn 400 -Hn 400; exec {program} serve --port {port}"
    with log.open("w") as out:
        server = subprocess.Popen(["bash", "-c", command], cwd=reproduced.folder, stdout=out, stderr=out)
    try:
        while "startup complete" not in log.read_text():
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
        with ExitStack() as stack:
            for _ in range(1200):
                stack.enter_context(connected(port))
            time.sleep(2)
        with connected(port) as client:
            assert answer(client, "/health").startswith(b"HTTP/1.1 200")
        server.send_signal(signal.SIGINT)
        assert server.wait(10) in (0, 130, -signal.SIGINT)
    finally:
        server.kill()
        server.wait()
    assert log.stat().st_size < 20_000 and "Traceback" not in log.read_text()
    assert re.search(r'"GET /health HTTP/1.1" 200', log.read_text())  # the access log
