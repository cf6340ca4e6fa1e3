"""Products to judge one after another: which they are, over HTTP, and in a browser."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from helpers.project import Project
from helpers.serve import serve
from playwright.sync_api import Browser, Page, expect

from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.catalogue import read_catalogue
from marketplace.recommendation.products import Products, products_of
from marketplace.serving.application import create_application
from marketplace.serving.feedback import FEEDBACK, Feedback
from marketplace.serving.judging import Judging, JudgingTask
from marketplace.serving.recommender import Recommender

HEADER = "product_id,similar_product_id,grade\n"
WEIGHTS = ["", "kind=1,text=0,title=0,path=0", "kind=0,text=1,title=0,path=0", "kind=0,text=0,title=1,path=1"]


@pytest.fixture(scope="module")
def products(table: pd.DataFrame) -> Products:
    return products_of(table)


@pytest.fixture
def feedback(tmp_path: Path) -> Feedback:
    return Feedback(tmp_path / FEEDBACK)


@pytest.fixture
def judging(products: Products, recommender: Recommender, feedback: Feedback, tmp_path: Path) -> Judging:
    return Judging(products, recommender.similar_to_product, feedback, tmp_path / "judgements.csv")


@pytest.fixture
def linked(reproduced: Project, tmp_path: Path) -> Project:
    """The reproduced pipeline, with a feedback file of its own."""
    folder = tmp_path / "linked"
    folder.mkdir()
    for path in reproduced.folder.iterdir():
        if path.name != FEEDBACK:
            (folder / path.name).symlink_to(path)
    return Project.at(folder)


def next_task(judging: Judging) -> JudgingTask:
    task = judging.next_task()
    assert task is not None
    return task


def candidate_ids(task: JudgingTask) -> list[str]:
    return [candidate.product.product_id for candidate in task.candidates]


def test_the_candidates_are_the_first_eight_of_four_rankings(
    judging: Judging, client: TestClient, reproduced: Project
) -> None:
    task = next_task(judging)
    path = f"/api/products/{task.product.product_id}/similar"
    answers = [client.get(path, params={"k": 8, "weights": weights}).json() for weights in WEIGHTS]
    assert set(candidate_ids(task)) == {entry["product"]["product_id"] for answer in answers for entry in answer}
    listed = pd.read_parquet(reproduced.folder / "data/recommendations.parquet")
    best = listed[(listed["product_id"] == task.product.product_id) & (listed["rank"] <= 8)]
    assert set(best["similar_product_id"]) <= set(candidate_ids(task))
    catalogue = read_catalogue(reproduced.folder)
    number = catalogue.products.number_of[task.product.product_id]
    for part in (catalogue.parts.kind, catalogue.parts.text):
        similarity = part @ part[number]
        similarity[number] = -np.inf
        nearest = catalogue.products.table["product_id"][int(similarity.argmax())]
        assert nearest in candidate_ids(task)


def test_candidates_stay_in_an_order_that_does_not_follow_their_scores(
    judging: Judging, products: Products, recommender: Recommender, feedback: Feedback, tmp_path: Path
) -> None:
    task = next_task(judging)
    restarted = Judging(products, recommender.similar_to_product, feedback, tmp_path / "judgements.csv")
    assert next_task(restarted) == task
    ranked = [entry.product.product_id for entry in recommender.similar_to_product(task.product.product_id, 100)]
    places = [ranked.index(similar_id) for similar_id in candidate_ids(task)]
    assert abs(np.corrcoef(places, np.arange(len(places)))[0, 1]) < 0.7


def test_products_come_by_split_and_hash_and_those_already_judged_are_skipped(
    judging: Judging, feedback: Feedback, table: pd.DataFrame
) -> None:
    splits = table.drop_duplicates("product_id").set_index("product_id")["split"]
    hashes = {product_id: hashlib.sha256(product_id.encode()).hexdigest() for product_id in splits.index}
    evaluated = sorted(splits.index[splits != "train"], key=hashes.__getitem__)
    trained = sorted(splits.index[splits == "train"], key=hashes.__getitem__)
    order = []
    while (task := judging.next_task()) is not None:
        order.append(task.product.product_id)
        assert task.place == len(order)
        for similar_id in candidate_ids(task):
            feedback.give_grade(task.product.product_id, similar_id, 1)
    assert order == evaluated + trained


def test_a_product_goes_on_where_its_grades_end(judging: Judging, feedback: Feedback) -> None:
    task = next_task(judging)
    first, second, *_ = candidate_ids(task)
    feedback.give_grade(task.product.product_id, first, 2)
    feedback.give_grade(task.product.product_id, second, 0)
    again = next_task(judging)
    assert candidate_ids(again) == candidate_ids(task)
    assert [candidate.grade for candidate in again.candidates[:3]] == [2, 0, None]


def test_judgements_of_colleagues_are_not_asked_for_again(judging: Judging, tmp_path: Path) -> None:
    path = tmp_path / "judgements.csv"
    path.write_text(f"{HEADER}a,b,5\n")
    with pytest.raises(MarketplaceError, match="are not 0, 1 or 2"):
        judging.next_task()
    path.unlink()
    task = next_task(judging)
    rows = "".join(f"{task.product.product_id},{similar_id},0\n" for similar_id in candidate_ids(task))
    path.write_text(HEADER + rows)
    assert next_task(judging).place == 1  # the file was read, or missing, when judging began
    restarted = Judging(judging._products, judging._recommend, judging._feedback, path)
    assert next_task(restarted).place == 2


def test_grades_are_given_over_http(linked: Project) -> None:
    with TestClient(create_application(Recommender(linked.folder))) as client:
        task = client.get("/api/judging").json()
        first, second = (entry["product"]["product_id"] for entry in task["candidates"][:2])
        assert "score" not in str(task)
        path = f"/api/products/{task['product']['product_id']}/similar"
        assert client.put(f"{path}/{first}/judgement", json={"grade": 2}).status_code == 204
        grades = [entry["grade"] for entry in client.get("/api/judging").json()["candidates"]]
        assert grades == [2] + [None] * (len(grades) - 1)
        for grade in (3, -1, "2", 1.5, None):
            answer = client.put(f"{path}/{second}/judgement", json={"grade": grade})
            assert (answer.status_code, answer.json()["detail"][:6]) == (422, "grade:")
        assert client.put(f"{path}/nothing/judgement", json={"grade": 1}).status_code == 404
    assert Feedback(linked.folder / FEEDBACK).grades() == {(task["product"]["product_id"], first): 2}


@pytest.fixture
def judge(linked: Project, browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The view for judging, just opened."""
    with serve(linked, tmp_path / "log") as server:
        context = browser.new_context(viewport={"width": 1200, "height": 900})
        page = context.new_page()
        page.goto(server.url)
        page.get_by_role("link", name="Judge recommendations").click()
        expect(page.locator("#status")).to_have_text(re.compile(r"^Candidate 1 of \d+, product 1$"))
        yield page
        context.close()


def test_keys_grade_and_a_reload_resumes(judge: Page, linked: Project) -> None:
    feedback = Feedback(linked.folder / FEEDBACK)
    status = judge.locator("#status")
    n_candidates = int(status.inner_text().split()[3].rstrip(","))
    assert judge.url.endswith("/?judge")
    expect(judge.locator("#search")).to_be_hidden()
    expect(judge.locator("#step-back")).to_be_disabled()
    for place, key in enumerate("201", start=2):
        judge.keyboard.press(key)
        expect(status).to_have_text(f"Candidate {place} of {n_candidates}, product 1")
    judge.keyboard.press("7")
    judge.keyboard.press("Control+0")
    assert sorted(feedback.grades().values()) == [0, 1, 2]

    judge.keyboard.press("Backspace")
    expect(status).to_have_text(f"Candidate 3 of {n_candidates}, product 1")
    expect(judge.get_by_role("button", name="1 Related")).to_have_attribute("aria-pressed", "true")
    judge.get_by_role("button", name="2 Alternative").click()
    expect(status).to_have_text(f"Candidate 4 of {n_candidates}, product 1")
    assert sorted(feedback.grades().values()) == [0, 2, 2]

    names = judge.locator(".judged h2").all_inner_texts()
    judge.reload()
    expect(status).to_have_text(f"Candidate 4 of {n_candidates}, product 1")
    assert judge.locator(".judged h2").all_inner_texts() == names
    judge.keyboard.press("Backspace")
    expect(judge.get_by_role("button", name="2 Alternative")).to_have_attribute("aria-pressed", "true")

    for place in range(3, n_candidates):
        judge.keyboard.press("0")
        expect(status).to_have_text(f"Candidate {place + 1} of {n_candidates}, product 1")
    judge.keyboard.press("0")
    expect(status).to_have_text(re.compile(r"^Candidate 1 of \d+, product 2$"))
    assert len(feedback.grades()) == n_candidates
    judge.keyboard.press("Backspace")
    expect(status).to_have_text(f"Candidate {n_candidates} of {n_candidates}, product 1")


def test_a_grade_that_is_not_stored_is_asked_for_again(judge: Page) -> None:
    before = judge.locator("#status").inner_text()
    judge.context.set_offline(True)
    judge.keyboard.press("2")
    expect(judge.get_by_role("alert")).to_have_text("The server does not answer. Check that it is running.")
    expect(judge.locator("#status")).to_have_text(before)
    judge.context.set_offline(False)
    judge.keyboard.press("2")
    expect(judge.get_by_role("alert")).to_be_hidden()
    expect(judge.locator("#status")).to_have_text(re.compile(r"^Candidate 2 of "))


def test_judging_is_left_and_gone_back_to(judge: Page) -> None:
    judge.keyboard.press("1")
    expect(judge.locator("#status")).to_have_text(re.compile(r"^Candidate 2 of "))
    judge.get_by_role("link", name="Similar products").click()
    expect(judge.locator("#heading")).to_have_text("Catalogue")
    expect(judge.locator("#judge")).to_be_hidden()
    judge.keyboard.press("0")
    judge.go_back()
    expect(judge.locator("#status")).to_have_text(re.compile(r"^Candidate 2 of "))
    judge.keyboard.press("0")
    expect(judge.locator("#status")).to_have_text(re.compile(r"^Candidate 3 of "))
    judge.keyboard.press("Escape")
    expect(judge.locator("#heading")).to_have_text("Catalogue")
    expect(judge.locator("#results li")).not_to_have_count(0)


def test_when_every_product_is_judged_the_page_says_so(judge: Page) -> None:
    judge.route("**/api/judging?*", lambda route: route.fulfill(body="null"))
    judge.reload()
    expect(judge.locator("#heading")).to_have_text("Every product is judged")
    expect(judge.locator("#status")).to_contain_text("marketplace feedback --export")
    expect(judge.locator("#judge")).to_be_hidden()
