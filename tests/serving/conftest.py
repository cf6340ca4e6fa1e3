"""A recommender over the reproduced pipeline, a client of its API, and its page in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from fastapi.testclient import TestClient
from helpers.axe import AXE
from helpers.npm import installed
from helpers.project import Project
from helpers.serve import Server, serve
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from marketplace.compute.arrays import ShardedArray
from marketplace.serving.application import create_application
from marketplace.serving.recommender import Recommender

expect.set_options(timeout=20_000)  # the tests share the machine


@pytest.fixture(scope="module")
def recommender(reproduced: Project) -> Recommender:
    return Recommender(reproduced.folder)


@pytest.fixture(scope="module")
def table(reproduced: Project) -> pd.DataFrame:
    return pd.read_parquet(reproduced.folder / "data/clean/training_data.parquet")


@pytest.fixture(scope="module")
def client(recommender: Recommender) -> Iterator[TestClient]:
    with TestClient(create_application(recommender)) as running:
        yield running


@pytest.fixture(scope="module")
def server(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`marketplace serve` over a reproduced pipeline."""
    with serve(reproduced, tmp_path_factory.mktemp("server") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def url(server: Server) -> str:
    """The address of that server."""
    return server.url


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """The catalogue, just opened. Whatever the browser complains of fails the test."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url) if not local(request.url, url) else None)
    page.goto(url)
    expect(page.locator("#results li")).not_to_have_count(0)
    yield page
    context.close()
    assert not complaints


def local(address: str, url: str) -> bool:
    return address.startswith((url, "blob:", "data:"))


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core."""
    return (installed(AXE, tmp_path_factory.mktemp("axe")) / "axe-core/axe.min.js").read_text()


@pytest.fixture
def photo(reproduced: Project, tmp_path: Path) -> Path:
    """The first photo of the catalogue, as a file."""
    images = ShardedArray(reproduced.folder / "data/resized/full")
    Image.fromarray(images[0]).save(tmp_path / "mine.png")
    return tmp_path / "mine.png"
