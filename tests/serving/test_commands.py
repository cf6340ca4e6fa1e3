"""The commands that answer questions, as a user types them."""

import json
import re
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
from fastapi.testclient import TestClient
from helpers.photos import png_of
from helpers.project import Project

from marketplace.serving.answers import Answer
from marketplace.serving.recommender import Recommender
from marketplace.serving.terminal import print_answer


def command(
    project: Project, *arguments: object, code: int = 0, within: str = ".", environment: dict[str, str] | None = None
) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from marketplace.cli import main; main()", *map(str, arguments)],
        cwd=project.folder / within,
        env=project.environment() | (environment or {}),
        text=True,
        capture_output=True,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def test_the_command_lists_similar_products(reproduced: Project, table: pd.DataFrame, tmp_path: Path) -> None:
    query = table["product_id"].iloc[0]
    listed = command(reproduced, "similar", query, "-k", 4)
    expected = pd.read_parquet(reproduced.folder / "data/recommendations.parquet").query("product_id == @query")
    lines = [line.split() for line in listed.splitlines()[4:]]
    assert [line[-1] for line in lines] == expected["similar_product_id"].tolist()[:4]
    assert [line[0] for line in lines] == ["1", "2", "3", "4"]

    name = table["product_name"].iloc[0]
    assert name in command(reproduced, "similar", "--words", name).splitlines()[3]

    photo, page = tmp_path / "photo.png", tmp_path / "out.html"
    photo.write_bytes(png_of(reproduced, 0))
    category = table["category"].iloc[0]
    listed = command(
        reproduced, "similar", photo, "--category", category.upper(), "--max-price", "£1,000", "--html", page
    )
    assert listed.startswith("Similar to photo.png")
    assert "The photo seems to show: " in listed
    listings = [line for line in listed.splitlines() if re.match(r" *\d+ ", line)]
    assert page.read_text().count("data:image/jpeg;base64") == 1 + len(listings)


def test_the_command_prints_what_the_api_answers(reproduced: Project, table: pd.DataFrame, client: TestClient) -> None:
    query = table["product_id"].iloc[0]
    other = table["product_id"].iloc[-1]
    parameters = {"k": 3, "like": query, "unlike": other, "words": "red -old"}
    answered = client.get("/api/similar", params=parameters).json()
    options = ["-k", 3, "--unlike", other, "--words", "red -old", "--json"]
    assert json.loads(command(reproduced, "similar", query, *options)) == answered


def test_the_beginning_of_an_id_is_enough(reproduced: Project, recommender: Recommender, table: pd.DataFrame) -> None:
    ids = sorted(table["product_id"].unique())
    for product_id in ids:
        short = recommender.ids.shorten(product_id)
        assert [one for one in ids if one.startswith(short)] == [product_id]
        assert len(short) >= 8
        assert recommender.ids.matching(short) == [product_id]
    assert recommender.ids.matching("") == ids
    asked = recommender.ids.shorten(ids[3])
    assert command(reproduced, "similar", asked) == command(reproduced, "similar", ids[3])
    assert f"{len(ids)} products have an id that begins with ''" in command(reproduced, "similar", "", code=1)


def test_the_command_works_in_any_folder_of_the_repository(
    reproduced: Project, table: pd.DataFrame, tmp_path: Path
) -> None:
    query = table["product_id"].iloc[0]
    assert command(reproduced, "similar", query, within="src/marketplace") == command(reproduced, "similar", query)
    outside = command(reproduced, "similar", query, within=str(tmp_path), code=1)
    assert f"{tmp_path} has no dvc.yaml, nor has any folder above it" in outside


def test_a_narrow_terminal_shows_ids_that_can_be_asked_for(
    recommender: Recommender, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = recommender.similar_to_product(table["product_id"].iloc[0], 4)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a terminal
    monkeypatch.setenv("COLUMNS", "80")
    print_answer("heading", "", Answer(visible=[], same=[], similar=found, corrected=None), recommender.ids.shorten)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 80
    shown = [recommender.ids.matching(line.split()[-1]) for line in lines[-4:]]
    assert shown == [[similar.product.product_id] for similar in found]


def test_a_port_that_is_taken_is_told_in_a_sentence(reproduced: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = command(reproduced, "serve", "--port", port, code=1)
    assert said.startswith(f"ERROR: cannot listen on 127.0.0.1, port {port} (Address already in use): ")
    assert len(said.splitlines()) == 1
    assert "cannot listen on nowhere.invalid" in command(reproduced, "serve", "--host", "nowhere.invalid", code=1)


def test_the_command_says_its_version_and_completes_itself(reproduced: Project) -> None:
    assert command(reproduced, "--version") == f"marketplace {version('marketplace')}\n"
    script = command(reproduced, "--print-completion", "bash")
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert "--min-price" in script


def test_the_command_explains_mistakes(reproduced: Project, table: pd.DataFrame, tmp_path: Path) -> None:
    query = table["product_id"].iloc[0]
    assert f"Did you mean {query}" in command(reproduced, "similar", "x" + query[1:], code=1)
    assert "name a product, a photo, or --words TEXT" in command(reproduced, "similar", code=1)
    assert "--words is empty" in command(reproduced, "similar", "--words", " ", code=1)
    assert "begins with a dash needs an equals sign: --words=-red" in command(
        reproduced, "similar", query, "--words", "-red", code=2
    )
    assert "cannot be liked and not liked at once" in command(reproduced, "similar", query, "--unlike", query, code=1)
    assert "--crop and --turn need the path of a photo" in command(reproduced, "similar", query, "--turn", 90, code=1)
    assert "is not a number from 0 to less than 1" in command(
        reproduced, "similar", query, "--diversity", "1.5", code=2
    )
    assert "'nan' is not a number such as 0.5" in command(reproduced, "similar", query, "--least-score", "nan", code=2)
    assert "'nowhere/photo.jpg' is neither a product's id nor a file." in command(
        reproduced, "similar", "nowhere/photo.jpg", code=1
    )
    (tmp_path / "page.jpg").write_text("<html>")
    assert "the photo cannot be read: it is not an image" in command(
        reproduced, "similar", tmp_path / "page.jpg", code=1
    )
    assert "no product has the category 'Nothing'" in command(
        reproduced, "similar", query, "--category", "Nothing", code=1
    )
    assert "is not an amount such as 12.50" in command(reproduced, "similar", query, "--max-price", "cheap", code=2)
    assert "is not a number from 1 to 1000" in command(reproduced, "similar", query, "-k", "0", code=2)


def test_help_is_there_for_every_command(reproduced: Project) -> None:
    for arguments in ([], ["similar"], ["serve"]):
        assert "usage: marketplace" in command(reproduced, *arguments, "--help")
