"""The limits of the server itself, without a proxy in front of it."""

import signal
import socket
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from helpers.project import Project
from helpers.serve import Server, serve

from marketplace.serving.server import MAX_CONCURRENCY, MAX_HEADER_BYTES, listening_socket

HALF_AN_UPLOAD = b"POST /api/similar HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nx"


def status(server: Server) -> int:
    """The status of the answer to a request."""
    try:
        with urllib.request.urlopen(f"{server.url}/health", timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_too_many_connections_get_503(server: Server) -> None:
    with ExitStack() as stack:
        for _ in range(MAX_CONCURRENCY):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        assert status(server) == 503
    assert status(server) == 200


def test_the_body_of_an_answer_does_not_wait_for_the_client_to_confirm_its_headers() -> None:
    """Which it does 40 ms later. asyncio cares for sockets of its own alone."""
    with listening_socket("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_endless_headers_are_refused(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nX-Endless: " + b"x" * MAX_HEADER_BYTES)
        assert client.recv(65536).startswith(b"HTTP/1.1 400")


def test_open_connections_do_not_hold_up_a_shutdown(reproduced: Project, tmp_path: Path) -> None:
    with serve(reproduced, tmp_path / "log") as server, ExitStack() as stack:
        for content in (b"", b"GET / HT", HALF_AN_UPLOAD):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            client.sendall(content)
        assert status(server) == 200
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) in (0, 130, -signal.SIGINT)
    assert "Traceback" not in server.log.read_text()
