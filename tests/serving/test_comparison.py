"""Two revisions' recommendations side by side."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from fastapi.testclient import TestClient
from helpers.axe import violations
from helpers.project import Project, copy_of
from helpers.serve import serve
from helpers.servers import free_port
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser, expect

from marketplace.common.errors import MarketplaceError
from marketplace.serving.application import create_application
from marketplace.serving.comparison import RevisionComparison
from marketplace.serving.preferences import ComparedTables
from marketplace.serving.recommender import Recommender

Listed = st.lists(st.sampled_from("abcdefgh"), unique=True)


@given(before=Listed, now=Listed)
def test_every_place_is_accounted_for(before: list[str], now: list[str]) -> None:
    lists = RevisionComparison("main", {"x": before}, {"x": now}, ComparedTables("", "")).compare("x", lambda _: None)
    assert [one.product_id for one in lists.before] == before
    assert [one.product_id for one in lists.now] == now
    assert {one.product_id for one in lists.before if one.fate == "gone"} == set(before) - set(now)
    assert {one.product_id for one in lists.now if one.fate == "new"} == set(now) - set(before)
    for place, one in enumerate(lists.now):
        if one.fate in ("stayed", "moved"):
            assert before[place + one.places_up] == one.product_id
            assert (one.fate == "stayed") == (one.places_up == 0)


@pytest.fixture(scope="module")
def two_models(reproduced: Project, make_project: Callable[..., Project]) -> Project:
    """A project whose recommendations are by words alone, while those of HEAD are the usual ones."""
    project = copy_of(reproduced, make_project())
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "before")
    project.set(**{"recommend.weights.product.kind": 0.0})
    project.dvc("repro")
    return project


def lists_of(folder: Path) -> dict[str, list[str]]:
    table = pd.read_parquet(folder / "data/recommendations.parquet")
    return table.groupby("product_id")["similar_product_id"].agg(list).to_dict()


def test_the_api_compares_with_a_commit(reproduced: Project, two_models: Project) -> None:
    before = lists_of(reproduced.folder)
    now = lists_of(two_models.folder)
    changed = {product_id for product_id in now if before[product_id] != now[product_id]}
    comparison = RevisionComparison.read(two_models.folder, "HEAD")
    with TestClient(create_application(Recommender(two_models.folder), comparison=comparison)) as client:
        assert client.get("/api/catalogue").json()["compared"] == comparison.revision
        overview = client.get("/api/compared").json()
        assert (overview["products"], overview["changed"], overview["summary"]) == (len(now), len(changed), "")
        answer = client.get("/api/compared/products", params={"limit": 100}).json()
        assert answer["total"] == len(changed)
        assert [one["change"] for one in answer["products"]] == sorted(
            (one["change"] for one in answer["products"]), reverse=True
        )
        most = answer["products"][0]
        product_id = most["product"]["product_id"]
        assert most["new"] == len(set(now[product_id]) - set(before[product_id])) > 0
        lists = client.get(f"/api/products/{product_id}/compared").json()
        assert [one["product_id"] for one in lists["before"]] == before[product_id]
        assert [one["product_id"] for one in lists["now"]] == now[product_id]
        assert lists["now"][0]["product"]["product_id"] == now[product_id][0]
        assert lists["better"] is None
        category = most["product"]["category"].split(" / ")[0]
        filtered = client.get("/api/compared/products", params={"category": category, "limit": 100}).json()
        assert {one["product"]["category"].split(" / ")[0] for one in filtered["products"]} == {category}
    with TestClient(create_application(Recommender(two_models.folder))) as client:
        for path in ("compared", "compared/products", "compared/next", f"products/{product_id}/compared"):
            assert client.get(f"/api/{path}").status_code == 404
    with pytest.raises(MarketplaceError, match="is not a commit, branch, tag or experiment here"):
        RevisionComparison.read(two_models.folder, "nowhere")
    clone = two_models.clone(two_models.folder.parent / "colleague")
    with pytest.raises(MarketplaceError, match="the recommendations of HEAD are not in DVC's cache"):
        RevisionComparison.read(clone.folder, "HEAD")


def test_lists_are_judged_blind_by_keys(
    browser: Browser, reproduced: Project, two_models: Project, axe: str, tmp_path: Path
) -> None:
    before = lists_of(reproduced.folder)
    now = lists_of(two_models.folder)
    with serve(two_models, tmp_path / "log", "--compare", "HEAD") as server:
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(server.url)
        banner = page.locator("#comparison")
        expect(banner).to_contain_text(f"of {len(now)} lists changed")
        banner.get_by_role("link", name="Which changed most").click()
        expect(page.locator("#results .score").first).to_contain_text("% changed")
        assert violations(page, axe) == []
        page.locator("#results a").first.click()
        expect(page.locator("#compared h2")).to_have_text(["Left", "Right"])
        expect(page.locator("#compared .fate").first).to_have_text("only here")
        product_id = page.evaluate("new URLSearchParams(location.search).get('product')")
        only = len(set(now[product_id]) ^ set(before[product_id]))
        expect(page.locator("#compared .fate")).to_have_count(only)
        bottom = page.locator("#compared").bounding_box()
        assert bottom is not None
        assert bottom["y"] + bottom["height"] <= 800  # both lists are above the fold
        assert violations(page, axe) == []

        address = page.url
        left = (
            page.locator("#compared section")
            .first.locator("a")
            .evaluate_all("links => links.map((link) => new URL(link).searchParams.get('product'))")
        )
        assert left in (now[product_id], before[product_id])
        left_is_now = left == now[product_id]
        page.keyboard.press("ArrowLeft")
        expect(page.locator(f"a.pair-product[href='?product={product_id}']")).to_have_count(0)  # the next product
        expect(page.locator("#compared h2")).to_have_text(["Left", "Right"])
        winner = "Current preferred once" if left_is_now else "Current preferred 0 times"
        expect(banner).to_contain_text(winner[1:])
        page.get_by_role("button", name="Equal").click()
        expect(banner).to_contain_text("equal 1; p = 1")
        page.goto(address)  # the names are known now, and which products are new and gone
        expect(page.locator("#compared h2")).to_have_count(2)
        names = page.locator("#compared h2").all_inner_texts()
        assert (names[0] == "Current") == left_is_now
        expect(page.locator("#compared .new")).to_have_count(len(set(now[product_id]) - set(before[product_id])))
        expect(page.locator("#compared .gone")).to_have_count(len(set(before[product_id]) - set(now[product_id])))
        expect(page.get_by_role("button", name="Left is better")).to_have_attribute("aria-pressed", "true")
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert violations(page, axe) == []
        page.close()
        assert complaints == []
    report = two_models.marketplace("feedback")
    assert f"current preferred {'once' if left_is_now else '0 times'}, HEAD" in report
    assert "equal 1; p = 1" in report


def test_a_revision_without_cached_results_is_the_only_error(copy_of_reproduced: Project) -> None:
    project = copy_of_reproduced
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "before")
    shutil.rmtree(project.folder / ".dvc/cache")
    output = project.marketplace("serve", "--port", str(free_port()), "--compare", "HEAD", code=1)
    assert "the recommendations of HEAD are not in DVC's cache" in output
    assert "Traceback" not in output
