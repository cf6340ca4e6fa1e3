"""Thumbs on recommendations, and what they say of a table."""

import json
import math
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from helpers.project import Project
from hypothesis import given
from hypothesis import strategies as st

from marketplace.common.errors import MarketplaceError, UnavailableError
from marketplace.relevance.judgements import JUDGEMENTS, read_grades
from marketplace.serving.application import create_application
from marketplace.serving.feedback import (
    FEEDBACK,
    READ_SECONDS,
    WRITE_SECONDS,
    Feedback,
    Thumb,
    export_grades,
    measure_agreement,
)
from marketplace.serving.recommender import Recommender


def thumb(product_id: str, similar_product_id: str, good: bool) -> Thumb:
    return Thumb(product_id=product_id, similar_product_id=similar_product_id, good=good)


def test_the_last_thumb_counts(tmp_path: Path) -> None:
    feedback = Feedback(tmp_path / FEEDBACK)
    assert feedback.thumbs() == []
    assert not (tmp_path / FEEDBACK).exists()
    feedback.give("a", "b", True)
    feedback.give("a", "c", False)
    feedback.give("b", "a", True)
    feedback.give("a", "b", False)
    again = Feedback(tmp_path / FEEDBACK)
    assert again.thumbs() == [thumb("a", "b", False), thumb("a", "c", False), thumb("b", "a", True)]
    again.give("a", "b", None)
    assert again.thumbs("a") == [thumb("a", "c", False)]


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / FEEDBACK).write_text("not a database, but long enough to be read as one" * 30)
    with pytest.raises(MarketplaceError, match="move it away"):
        Feedback(tmp_path / FEEDBACK).thumbs()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """A file of ratings that another program keeps to itself."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("DELETE FROM feedback WHERE product_id = 'nobody'")
        yield


def test_a_file_that_is_locked_is_sound_and_nobody_waits_long(tmp_path: Path) -> None:
    feedback = Feedback(tmp_path / FEEDBACK)
    feedback.give("a", "b", True)
    with locked(tmp_path / FEEDBACK):
        questions: list[tuple[Callable[[], object], float]] = [
            (feedback.thumbs, READ_SECONDS),
            (feedback.grades, READ_SECONDS),
            (feedback.verdicts, READ_SECONDS),
            (partial(feedback.give, "a", "c", True), WRITE_SECONDS),
        ]
        for question, seconds in questions:
            started = time.monotonic()
            with pytest.raises(UnavailableError, match="database is locked") as raised:
                question()
            assert time.monotonic() - started < seconds + 5
            assert "move it away" not in str(raised.value)
            assert str(tmp_path) not in raised.value.public
    assert feedback.thumbs() == [thumb("a", "b", True)]
    feedback.give("a", "c", True)


def test_a_file_that_cannot_be_written_is_sound(tmp_path: Path) -> None:
    feedback = Feedback(tmp_path / FEEDBACK)
    feedback.give("a", "b", True)
    (tmp_path / f"{FEEDBACK}-wal").mkdir()  # where SQLite would write
    with pytest.raises(UnavailableError, match="unable to open database file"):
        feedback.give("a", "c", True)
    with pytest.raises(UnavailableError, match="unable to open database file"):
        feedback.thumbs()


def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    feedback = Feedback(tmp_path / FEEDBACK)
    feedback.give("a", "b", True)
    with closing(sqlite3.connect(tmp_path / FEEDBACK, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("DELETE FROM feedback")
        assert feedback.thumbs() == [thumb("a", "b", True)]


def test_a_file_of_an_earlier_version_has_no_grades(tmp_path: Path) -> None:
    feedback = Feedback(tmp_path / FEEDBACK)
    feedback.give("a", "b", True)
    with closing(sqlite3.connect(tmp_path / FEEDBACK, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("DROP TABLE judgements")
    assert feedback.grades() == {}
    assert feedback.thumbs() == [thumb("a", "b", True)]
    feedback.give_grade("a", "b", 1)
    assert feedback.grades() == {("a", "b"): 1}


def test_a_crowd_loses_no_vote(copy_of_reproduced: Project) -> None:
    recommender = Recommender(copy_of_reproduced.folder)
    one, *others = [product.product_id for product in recommender.products(np.arange(26))]
    with TestClient(create_application(recommender)) as client, ThreadPoolExecutor(25) as crowd:

        def vote(other: str) -> tuple[int, int]:
            given = client.put(f"/api/products/{one}/similar/{other}/feedback", json={"good": True})
            return given.status_code, client.get(f"/api/products/{one}/feedback").status_code

        assert set(crowd.map(vote, others * 4)) == {(204, 200)}
        assert client.get(f"/api/products/{one}/feedback").json() == dict.fromkeys(others, True)


def test_thumbs_that_cannot_be_read_take_nothing_else_down(copy_of_reproduced: Project) -> None:
    folder = copy_of_reproduced.folder
    recommender = Recommender(folder)
    one, other = [product.product_id for product in recommender.products(np.arange(2))]
    Feedback(folder / FEEDBACK).give(one, other, True)
    with TestClient(create_application(recommender)) as client:

        def ratings() -> list[Any]:
            return [
                client.get(f"/api/products/{one}/feedback"),
                client.put(f"/api/products/{one}/similar/{other}/feedback", json={"good": False}),
                client.put(f"/api/products/{one}/similar/{other}/judgement", json={"grade": 1}),
                client.get("/api/judging"),
            ]

        with locked(folder / FEEDBACK):
            answers = ratings()
            assert client.get(f"/api/products/{one}/similar").status_code == 200
        assert {answer.status_code for answer in ratings()} == {200, 204}
        (folder / FEEDBACK).write_text("not a database, but long enough to be read as one" * 30)
        for answer in [*answers, *ratings()]:
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
            assert str(folder) not in answer.text and "move it" not in answer.text


@given(
    thumbs=st.dictionaries(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), st.booleans()),
    recommended=st.dictionaries(st.sampled_from("abc"), st.lists(st.sampled_from("abcd"), unique=True)),
)
def test_agreement_counts_each_thumb_once(
    thumbs: dict[tuple[str, str], bool], recommended: dict[str, list[str]]
) -> None:
    given = [thumb(*pair, good) for pair, good in thumbs.items()]
    agreement = measure_agreement(given, recommended)
    counted = [opinion for opinion in given if opinion.product_id in recommended]
    right = [opinion.good == (opinion.similar_product_id in recommended[opinion.product_id]) for opinion in counted]
    assert agreement.thumbs_up + agreement.thumbs_down == len(counted)
    assert agreement.thumbs_up_listed + agreement.thumbs_down_not_listed == sum(right)
    if counted:
        assert agreement.share == pytest.approx(sum(right) / len(counted))
    else:
        assert math.isnan(agreement.share)


HEADER = "product_id,similar_product_id,grade\n"


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    """A repository with three thumbs and an empty file of judgements."""
    (tmp_path / "data").mkdir()
    (tmp_path / JUDGEMENTS).write_text(HEADER)
    feedback = Feedback(tmp_path / FEEDBACK)
    feedback.give("b", "a", True)
    feedback.give("a", "c", False)
    feedback.give("a", "b", True)
    return tmp_path


def test_thumbs_become_judgements_once(rated: Path) -> None:
    assert export_grades(rated) == "added 3 judgements to data/judgements.csv; 0 pairs were judged already"
    exported = (rated / JUDGEMENTS).read_text()
    assert exported == f"{HEADER}a,b,2\na,c,0\nb,a,2\n"
    assert export_grades(rated) == "added 0 judgements to data/judgements.csv; 3 pairs were judged already"
    assert (rated / JUDGEMENTS).read_text() == exported


def test_a_thumb_does_not_replace_a_grade(rated: Path) -> None:
    (rated / JUDGEMENTS).write_text(f"{HEADER}x,y,1\na,c,2\na,b,2\n")
    sentence = export_grades(rated)
    assert sentence == (
        "added 1 judgements to data/judgements.csv; 2 pairs were judged already, 1 of them with another grade, "
        "which was kept: a and c (2 in the file, 0 on the page)"
    )
    assert (rated / JUDGEMENTS).read_text() == f"{HEADER}x,y,1\na,c,2\na,b,2\nb,a,2\n"


def test_a_grade_wins_over_a_thumb(rated: Path) -> None:
    feedback = Feedback(rated / FEEDBACK)
    feedback.give_grade("a", "b", 2)
    feedback.give_grade("a", "b", 1)
    feedback.give_grade("c", "a", 0)
    assert feedback.grades() == {("a", "b"): 1, ("c", "a"): 0}
    assert export_grades(rated) == "added 4 judgements to data/judgements.csv; 0 pairs were judged already"
    assert read_grades(rated / JUDGEMENTS) == {("a", "b"): 1, ("a", "c"): 0, ("b", "a"): 2, ("c", "a"): 0}


def test_an_export_without_thumbs_or_a_sound_file_is_refused_in_a_sentence(rated: Path) -> None:
    (rated / JUDGEMENTS).write_text(f"{HEADER}a,c,5\n")
    with pytest.raises(MarketplaceError, match="are not 0, 1 or 2, such as '5' in line 2"):
        export_grades(rated)
    (rated / JUDGEMENTS).unlink()
    with pytest.raises(MarketplaceError, match="is missing: restore it with"):
        export_grades(rated)
    assert not (rated / JUDGEMENTS).exists()
    (rated / FEEDBACK).unlink()
    with pytest.raises(MarketplaceError, match="no ratings yet"):
        export_grades(rated)


def test_the_command_exports(make_project: Callable[..., Project]) -> None:
    project = make_project()
    Feedback(project.folder / FEEDBACK).give("a", "b", True)
    assert "added 1 judgements to data/judgements.csv" in project.marketplace("feedback", "--export")
    assert project.run("git", "diff", "--stat").split()[0] == "data/judgements.csv"
    assert "not allowed with argument" in project.marketplace("feedback", "main", "--export", code=2)


def test_the_command_compares_two_revisions(copy_of_reproduced: Project) -> None:
    project = copy_of_reproduced
    assert "no ratings yet" in project.marketplace("feedback", code=1)
    table = pd.read_parquet(project.folder / "data/recommendations.parquet")
    first, last = table.iloc[0], table[table["rank"] == table["rank"].max()].iloc[0]
    feedback = Feedback(project.folder / FEEDBACK)
    feedback.give(first["product_id"], first["similar_product_id"], True)
    feedback.give(last["product_id"], last["similar_product_id"], False)
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "before")
    assert "feedback.sqlite" not in project.run("git", "ls-files")
    project.set(**{"recommend.k": int(table["rank"].max()) - 1})
    project.dvc("repro")
    headings, *rows = [re.split(r"  +", line.strip()) for line in project.marketplace("feedback", "HEAD").splitlines()]
    assert headings[1:] == ["workspace"]
    assert rows == [
        ["thumbs up recommended", "1 of 1", "1 of 1"],
        ["thumbs down not recommended", "0 of 1", "1 of 1"],
        ["agreement", "0.500", "1.000"],
    ]
    before, after = json.loads(project.marketplace("feedback", "HEAD", "--json"))
    assert (before["thumbs_down_not_recommended"], after["thumbs_down_not_recommended"]) == (0, 1)
