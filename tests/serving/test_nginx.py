"""The configuration of nginx in the docs, in front of the real server: the page under a prefix, and attacks."""

import json
import resource
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from helpers.nginx import NAME, Nginx, nginx_before
from helpers.serve import Server
from playwright.sync_api import Browser, expect

from marketplace.serving.similarity_routes import MAX_UPLOAD_BYTES

ATTACKER = "127.0.0.2"  # another address than that of the tests' other requests
IDLE = 1000
SLOW_HEADERS = 20
SLOW_BODIES = 150
ALLOWED = 100  # requests at a time from one address: limit_conn
PATIENCE = 20  # seconds; the configuration gives up after 10


@pytest.fixture(scope="module")
def nginx(server: Server) -> Iterator[Nginx]:
    with nginx_before(server.port) as running:
        yield running


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process have as many open files as an attack needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_page_works_under_a_prefix(browser: Browser, nginx: Nginx, photo: Path) -> None:
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    base = f"https://{NAME}:{nginx.port}/similar"
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("response", lambda response: complaints.append(response.url) if response.status >= 400 else None)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(f"{base}/")
    expect(page.locator("#results img").first).not_to_have_js_property("naturalWidth", 0)
    page.locator("#results a").first.click()
    expect(page.locator("#query img").first).not_to_have_js_property("naturalWidth", 0)
    page.get_by_role("button", name="Why this?").first.click()
    expect(page.locator("#why canvas")).to_have_count(2)
    page.get_by_role("button", name="Close").click()
    page.get_by_role("link", name="Map", exact=True).click()
    expect(page.locator("#map canvas")).to_be_visible()
    page.locator("#photo").set_input_files(photo)
    expect(page.locator("#query h2")).to_have_text("Your photo")
    page.get_by_role("link", name="Similar products").click()
    expect(page.locator("#heading")).to_have_text("Catalogue")
    assert page.url == f"{base}/"
    context.close()
    assert complaints == []
    assert all(address.startswith((f"{base}/", "blob:", "data:")) for address in requests)


def test_addresses_lead_to_the_page_and_nowhere_else(nginx: Nginx) -> None:
    assert nginx.ask("GET", "/")[0].status == 404
    assert nginx.ask("GET", "/similar")[0].headers["Location"] == f"https://{NAME}:{nginx.port}/similar/"
    slash = nginx.ask("GET", "/similar/api/products/")[0]
    assert slash.headers["Location"] == "../products"
    with socket.create_connection(("127.0.0.1", nginx.http_port)) as client:
        client.sendall(f"GET /similar/?words=red HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
        assert f"Location: https://{NAME}/similar/?words=red\r\n".encode() in client.recv(65536)
    with socket.create_connection(("127.0.0.1", nginx.http_port)) as client:
        client.sendall(b"GET /similar/ HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert answer_before_the_end(client) == b""


def test_an_encoded_slash_in_an_id_arrives(nginx: Nginx) -> None:
    response, body = nginx.ask("GET", "/similar/api/products/a%2Fsimilar")
    assert response.status == 404
    assert json.loads(body)["detail"].startswith("no product has the id 'a/similar'")


def test_the_proxy_may_take_the_prefix_away(server: Server) -> None:
    with nginx_before(server.port, proxy_pass="http://marketplace/") as nginx:
        assert json.loads(nginx.ask("GET", "/similar/openapi.json")[1])["servers"] == [{"url": "/similar"}]
        assert nginx.ask("GET", "/similar/api/products/?limit=1")[0].headers["Location"] == "../products?limit=1"
        assert json.loads(nginx.ask("GET", "/similar/api/products?limit=1")[1])["products"]
        assert b"assets/app.js" in nginx.ask("GET", "/similar/")[1]
        assert nginx.ask("GET", "/similar/assets/app.js")[0].status == 200


def test_forwarded_headers_of_clients_are_not_believed(nginx: Nginx, server: Server) -> None:
    lies = {
        "X-Forwarded-Prefix": "/evil",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-For": "192.0.2.66",
    }
    schema = json.loads(nginx.ask("GET", "/similar/openapi.json", headers=lies)[1])
    assert schema["servers"] == [{"url": "/similar"}]
    redirected = nginx.ask("GET", "/similar/api/map/", headers=lies)[0]
    assert redirected.headers["Location"] == "../map"
    assert "192.0.2.66" not in server.log.read_text()
    with nginx.secure_socket() as client:
        client.sendall(b"GET /similar/ HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert answer_before_the_end(client) == b""


def test_large_requests_are_refused(nginx: Nginx) -> None:
    for size in (MAX_UPLOAD_BYTES + 1, 2 * MAX_UPLOAD_BYTES):
        response, body = nginx.ask("POST", "/similar/api/similar", bytes(size))
        assert response.status == 413
        assert json.loads(body) == {"detail": "the photo may have at most 12 MiB"}
    assert (
        nginx.ask("POST", "/similar/api/similar", bytes(MAX_UPLOAD_BYTES))[0].status == 422
    )  # it arrives, but is no photo
    large = "x" * 9000
    assert nginx.ask("GET", f"/similar/?words={large}")[0].status == 414
    assert nginx.ask("GET", "/similar/", headers={"X-Large": large})[0].status == 400
    assert nginx.ask("GET", "/similar/", headers={"X-Small": large[:8000]})[0].status == 200


def test_slow_clients_are_cut_off_and_disturb_nobody(nginx: Nginx, server: Server, many_files: None) -> None:
    body = b"POST /similar/api/similar HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 100000\r\n\r\nx"
    before = server.log.read_text().count("POST")
    with ExitStack() as stack:
        idle = [stack.enter_context(nginx.plain_socket(ATTACKER)) for _ in range(IDLE)]
        headers = [stack.enter_context(nginx.secure_socket(ATTACKER)) for _ in range(SLOW_HEADERS)]
        bodies = [stack.enter_context(nginx.secure_socket(ATTACKER)) for _ in range(SLOW_BODIES)]
        for client in bodies:
            client.sendall(body)
        started = time.monotonic()
        open_headers = headers
        while open_headers:
            open_headers = [client for client in open_headers if send_letter(client)]
            asked = time.monotonic()
            assert nginx.ask("GET", "/similar/api/products")[0].status == 200
            assert time.monotonic() - asked < 5
            assert time.monotonic() - started < PATIENCE
            time.sleep(0.2)
        answers = [answer_before_the_end(client) for client in bodies]
        refused = sum(answer.startswith(b"HTTP/1.1 429") for answer in answers)
        assert refused == SLOW_BODIES - ALLOWED
        assert [answer_before_the_end(client) for client in idle] == [b""] * IDLE
        assert time.monotonic() - started < PATIENCE
    assert server.log.read_text().count("POST") == before  # no slow body reached it


def send_letter(client: ssl.SSLSocket) -> bool:
    """Send one letter of a request's headers; whether the connection still takes it."""
    try:
        client.sendall(b"G")
    except OSError:
        return False
    return True


def answer_before_the_end(client: socket.socket) -> bytes:
    """All that arrives until the other side closes the connection."""
    received = b""
    try:
        while part := client.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received
