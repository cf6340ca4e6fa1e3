"""Requests as proxies and pages of other sites send them: below a prefix, with whole addresses, from other origins."""

import argparse
from typing import cast

import pytest
from fastapi.testclient import TestClient

from marketplace.serving.application import create_application
from marketplace.serving.guards import MAX_SMALL_BODY_BYTES
from marketplace.serving.hosts import origin, path_prefix
from marketplace.serving.recommender import Recommender

NO_RECOMMENDER = cast(Recommender, None)  # the page and the description of the API do without
SHOP = "https://shop.example"


def client_of(prefix: str = "", origins: tuple[str, ...] = ()) -> TestClient:
    app = create_application(NO_RECOMMENDER, prefix=prefix, origins=origins)
    return TestClient(app, follow_redirects=False)


@pytest.mark.parametrize("stripped", [False, True], ids=["kept", "stripped"])
@pytest.mark.parametrize(
    ("option", "header"), [("/shop", None), ("", "/shop"), ("", "/shop/"), ("/shop", "/evil"), ("/shop", "a b")]
)
def test_the_prefix_may_be_kept_or_stripped(option: str, header: str | None, stripped: bool) -> None:
    client = client_of(option)
    headers = {} if header is None else {"X-Forwarded-Prefix": header}
    below = "" if stripped else "/shop"
    assert b"<title>" in client.get(f"{below}/", headers=headers).content
    assert client.get(f"{below}/assets/app.js", headers=headers).status_code == 200
    assert client.get(f"{below}/health", headers=headers).json() == {"status": "ok"}
    assert client.get(f"{below}/openapi.json", headers=headers).json()["servers"] == [{"url": "/shop"}]
    redirected = client.get(f"{below}/api/products/?words=red%2Fblue", headers=headers)
    assert (redirected.status_code, redirected.headers["Location"]) == (307, "../products?words=red%2Fblue")
    assert client.get("/shop", headers=headers).headers["Location"] == "./shop/"
    assert client.get("/shopping/", headers=headers).status_code == 404
    assert "servers" not in client_of().get("/openapi.json").json()


@pytest.mark.parametrize(
    "prefix", ["shop", "/a b", "http://x", "/../x", "/a/./b", "//x", "/a?b", "/<b>", "/a,/b", "/api"]
)
def test_a_prefix_that_is_no_path_is_refused(prefix: str) -> None:
    with pytest.raises(
        argparse.ArgumentTypeError, match=r"is not a path such as /shop|/api is an address of this server"
    ):
        path_prefix(prefix)
    refused = client_of().get("/openapi.json", headers={"X-Forwarded-Prefix": prefix})
    assert (refused.status_code, refused.json()) == (400, {"detail": "X-Forwarded-Prefix is not a path such as /shop"})


def test_pages_of_named_origins_may_ask() -> None:
    client = client_of(origins=(SHOP,))
    preflight = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
    allowed = client.options("/api/similar", headers={"Origin": SHOP, **preflight})
    assert (allowed.status_code, allowed.headers["Access-Control-Allow-Origin"]) == (200, SHOP)
    assert "PUT" in allowed.headers["Access-Control-Allow-Methods"]
    assert client.options("/api/similar", headers={"Origin": "https://evil.example", **preflight}).status_code == 400
    large = client.put(
        "/api/products/a/similar/b/feedback", headers={"Origin": SHOP}, content=b"x" * (MAX_SMALL_BODY_BYTES + 1)
    )
    answers = [allowed, large, client.get("/health", headers={"Origin": SHOP})]
    assert [answer.headers["Access-Control-Allow-Origin"] for answer in answers] == [SHOP] * 3
    assert not [answer for answer in answers if "Access-Control-Allow-Credentials" in answer.headers]
    for other in (
        client.get("/health", headers={"Origin": "https://evil.example"}),
        client_of().get("/health", headers={"Origin": SHOP}),
    ):
        assert "Access-Control-Allow-Origin" not in other.headers


@pytest.mark.parametrize(
    "text",
    [
        "shop.example",
        "https://shop.example/",
        "https://x/a?b",
        "https://u@x",
        "*",
        "https://*.x",
        "null",
        "ftp://x",
        "https://x#",
        "",
    ],
)
def test_an_origin_has_a_scheme_and_a_host_and_no_path(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not an origin: .*such as https://shop\.example"):
        origin(text)
    with pytest.raises(argparse.ArgumentTypeError, match="is not a port"):
        origin("https://shop.example:99999")
