"""A recommender over the reproduced pipeline, a client of its API, and its page in a real browser."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from fastapi.testclient import TestClient
from helpers.project import Project
from helpers.requirements import hide_packages_beyond
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from marketplace.compute.arrays import ShardedArray
from marketplace.serving.api import application
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
    with TestClient(application(recommender)) as running:
        yield running


@pytest.fixture(scope="module")
def url(reproduced: Project) -> Iterator[str]:
    """The address of `marketplace serve` over a reproduced pipeline."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # A machine that only serves has no PyTorch.
    code = f"{hide_packages_beyond('requirements-serve.lock')}\nfrom marketplace.cli import main; main()"
    server = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--port", str(port)],
        cwd=reproduced.folder,
        env=reproduced.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(address).close()
            break
        except urllib.error.URLError:
            assert server.poll() is None, server.stderr and server.stderr.read()
            time.sleep(0.1)
    yield address
    server.terminate()
    server.wait()


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


@pytest.fixture
def photo(reproduced: Project, tmp_path: Path) -> Path:
    """The first photo of the catalogue, as a file."""
    images = ShardedArray(reproduced.folder / "data/resized/full")
    Image.fromarray(images[0]).save(tmp_path / "mine.png")
    return tmp_path / "mine.png"
