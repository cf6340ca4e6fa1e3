"""The Host header: foreign pages cannot reach the server under a name of their own."""

import argparse
import json
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from helpers.project import Project
from helpers.serve import serve

from marketplace.serving.application import create_application
from marketplace.serving.hosts import host_name, known_hosts
from marketplace.serving.recommender import Recommender


def status(url: str, host: str) -> int:
    """The status of the answer to a request with that Host header."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Host": host}), timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    ("host", "address", "allowed", "answered", "refused"),
    [
        ("127.0.0.1", "127.0.0.1", [], ["localhost:8000", "127.0.0.1", "[::1]:80"], ["evil.example", "127.0.0.1.evil"]),
        ("127.0.0.2", "127.0.0.2", [], ["127.0.0.2:8000", "localhost"], ["evil.example", "0.0.0.0", ""]),
        ("::1", "::1", [], ["[::1]:8000", "[::1]", "localhost"], ["evil.example", "[::2]", "::1", "[evil"]),
        ("shop", "127.0.1.1", [], ["shop:8000", "SHOP", "127.0.1.1"], ["evil.example"]),
        ("::1", "::1", ["shop.example", "[::5]"], ["shop.example:8000", "[::5]:80", "localhost"], ["a.shop.example"]),
        ("127.0.0.1", "127.0.0.1", ["*.shop.example"], ["a.shop.example"], ["shop.example", "evilshop.example"]),
        ("0.0.0.0", "0.0.0.0", [], ["anything.example"], []),
        ("0.0.0.0", "0.0.0.0", ["shop.example"], ["shop.example", "localhost"], ["evil.example"]),
    ],
)
def test_only_known_hosts_are_answered(
    recommender: Recommender, host: str, address: str, allowed: list[str], answered: list[str], refused: list[str]
) -> None:
    app = create_application(recommender, known_hosts(host, address, allowed))
    with TestClient(app) as client:
        for names, expected in ((answered, 200), (refused, 400)):
            assert {client.get("/health", headers={"Host": name}).status_code for name in names} <= {expected}, names


def test_names_of_hosts_have_no_port() -> None:
    assert host_name("[::1]") == "[::1]"
    for text in ("shop.example:8000", "http://shop.example", "a*b", "*", ""):
        with pytest.raises(argparse.ArgumentTypeError, match=r"is not the name of a host, such as shop\.example"):
            host_name(text)


def test_the_command_answers_to_the_names_it_is_told(reproduced: Project, tmp_path: Path) -> None:
    options = ["--host", "127.0.0.2", "--allow-host", "shop.example", "--allow-host", "second.example"]
    options += ["--root-path", "/shop/", "--allow-origin", "https://page.example"]
    with serve(reproduced, tmp_path / "log", *options, host="127.0.0.2") as server:
        url = f"http://127.0.0.2:{server.port}/health"
        assert [status(url, name) for name in ("second.example", "127.0.0.2", "evil.example")] == [200, 200, 400]
        request = urllib.request.Request(f"http://127.0.0.2:{server.port}/shop/openapi.json")
        request.add_header("Origin", "https://page.example")
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert json.load(answer)["servers"] == [{"url": "/shop"}]
            assert answer.headers["Access-Control-Allow-Origin"] == "https://page.example"
        whole_addresses = {
            b"http://SHOP.example:80/shop/api/products?limit=1": b"200",
            b"http://shop.example": b"200",
            b"http://evil.example/shop/": b"400",
            b"http://user@shop.example/shop/": b"404",
            b"ftp://shop.example/shop/": b"404",
        }
        for target, code in whole_addresses.items():
            with socket.create_connection(("127.0.0.2", server.port), timeout=20) as client:
                host = b"evil.example" if code == b"200" else b"shop.example"  # the target's host counts
                client.sendall(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, host))
                assert client.recv(65536).split(b" ")[1] == code, target
    assert "Anyone who can reach" not in server.log.read_text()
