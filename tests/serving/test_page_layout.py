"""How the page looks: sizes that are measured in a browser, photos, what is awaited, and titles from right to left."""

import re
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, Route, expect

TARGETS = """() => [...document.querySelectorAll("a, button, input, select, summary, label[for]")]
  .filter((node) => node.checkVisibility() && !node.matches(".unseen, .skip"))
  .map((node) => [node.outerHTML.slice(0, 80), node.getBoundingClientRect()])
  .filter(([, { width, height }]) => width < 44 || height < 44).map(([html]) => html)"""
ARABIC = "كرسي خشبي قديم"


@pytest.fixture
def phone(browser: Browser, url: str) -> Iterator[Page]:
    """The catalogue on a phone."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(url)
    expect(page.locator("#results li")).not_to_have_count(0)
    yield page
    context.close()


def box(page: Page, selector: str) -> dict[str, Any]:
    """The rectangle of the first element, in pixels of the window."""
    found: dict[str, Any] = page.locator(selector).first.evaluate("(node) => node.getBoundingClientRect().toJSON()")
    return found


def header_stays(page: Page) -> bool:
    page.evaluate("scrollTo(0, 900)")
    header = box(page, "header")
    page.evaluate("scrollTo(0, 0)")
    return bool(header["top"] == 0 and header["height"] <= 64)


@pytest.mark.parametrize("width", [1200, 1366, 1920])
def test_cards_fill_the_width_of_a_screen(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    edges = page.locator("#results li").evaluate_all(
        "(cards) => cards.map((card) => card.getBoundingClientRect().right)"
    )
    card = box(page, "#results li")
    assert 220 <= card["width"] <= 260
    assert card["left"] + width - max(edges) <= 32
    photo = page.locator("#results img").first
    expect(photo).to_have_css("object-fit", "cover")
    assert box(page, "#results img")["height"] == pytest.approx(card["width"] * 5 / 4, abs=4)
    assert header_stays(page)


def test_a_phone_shows_two_columns_and_what_is_similar_at_once(phone: Page) -> None:
    cards = phone.locator("#results li").evaluate_all(
        "(cards) => cards.map((card) => card.getBoundingClientRect().left)"
    )
    assert len(set(cards)) == 2
    assert header_stays(phone)
    assert phone.evaluate(TARGETS) == []
    phone.get_by_role("button", name="Filters").tap()
    phone.get_by_label("Location").select_option(index=1)
    assert phone.evaluate(TARGETS) == []
    phone.get_by_role("button", name="Show products").tap()
    expect(phone.locator("#badge")).to_have_text("1")
    phone.locator("#results a").first.tap()
    expect(phone.locator("#query h2")).to_be_visible()
    expect(phone.get_by_text("Your filters:")).to_be_visible()
    assert box(phone, "#results li")["top"] < 560
    assert header_stays(phone)
    phone.get_by_text("Details").tap()
    assert phone.evaluate(TARGETS) == []
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_product_with_a_hundred_photos_and_a_long_text(page: Page) -> None:
    def answer(route: Route) -> None:
        product = route.fetch().json()
        images = (product["image_ids"] * 100)[:100]
        text = " ".join(["A chair of oak."] * 40)
        route.fulfill(json=product | {"name": ARABIC, "description": text, "image_ids": images})

    page.route(re.compile(r"/api/products/[^/?]+\?"), answer)
    page.locator("#results a").first.click()
    expect(page.locator("#query h2")).to_have_text(ARABIC)
    expect(page.locator("#query h2")).to_have_css("direction", "rtl")
    assert box(page, "#results li")["top"] < 560

    row = page.locator("#query .photos")
    expect(row).to_have_css("scroll-snap-type", "x mandatory")  # so that it is swiped photo by photo
    tops = row.locator("img").evaluate_all("(photos) => photos.map((photo) => photo.getBoundingClientRect().top)")
    assert len(tops) == 100
    assert len(set(tops)) == 1
    assert row.evaluate("(row) => row.scrollWidth > 3 * row.clientWidth")
    page.get_by_role("button", name="Enlarge photo 1 of 100").focus()
    for _ in range(9):
        page.keyboard.press("ArrowRight")
    tenth = page.get_by_role("button", name="Enlarge photo 10 of 100")
    expect(tenth).to_be_focused()
    expect(tenth).to_be_in_viewport()
    page.keyboard.press("Enter")
    shown = page.locator("#zoom img")
    expect(shown.nth(9)).to_be_in_viewport(ratio=0.9)
    expect(shown.nth(9)).to_have_css("object-fit", "contain")
    page.keyboard.press("ArrowRight")
    expect(shown.nth(10)).to_be_in_viewport(ratio=0.9)
    page.get_by_role("button", name="Previous photo").click()
    expect(shown.nth(9)).to_be_in_viewport(ratio=0.9)
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#zoom")).to_be_hidden()

    text = page.locator(".description")
    cut = text.bounding_box()
    page.get_by_role("button", name="Read more").click()
    whole = text.bounding_box()
    assert cut is not None
    assert whole is not None
    assert cut["height"] < 50 < whole["height"]
    page.get_by_role("button", name="Read less").click()


def test_the_category_of_a_product_leads_to_its_catalogue(page: Page, table: pd.DataFrame) -> None:
    page.locator("#results a").first.click()
    expect(page.locator("#query")).to_be_visible()
    product_id = page.evaluate("new URLSearchParams(location.search).get('product')")
    product = table[table["product_id"] == product_id].iloc[0]
    breadcrumb = page.get_by_role("navigation", name="Breadcrumb")
    assert breadcrumb.locator("li").all_inner_texts() == product["category_path"].split(" / ")
    expect(page.locator("#query dd")).to_be_hidden()
    breadcrumb.get_by_role("link").first.click()
    expect(page.locator("#heading")).to_have_text("Catalogue")
    n = table[table["category"] == product["category"]]["product_id"].nunique()
    expect(page.locator("#status")).to_have_text(re.compile(rf"^{n} products?$"))
    page.go_back()
    breadcrumb.get_by_role("link").last.click()
    expect(page.locator("#heading")).to_have_text(f"“{product['category_path'].split(' / ')[-1]}”")
    expect(page.get_by_label("Category", exact=True)).to_have_value(product["category"])


def test_only_a_slow_answer_is_awaited_with_grey_cards(browser: Browser, url: str) -> None:
    page = browser.new_page()
    page.clock.install(time=0)
    page.goto(url)
    expect(page.locator("#results li")).not_to_have_count(0)
    page.clock.pause_at(10_000)  # from here on, the page waits as long as this test says
    page.locator("#results a").first.click()
    expect(page.locator("#query h2")).to_be_visible()
    expect(page.locator("#loading")).to_be_hidden()
    waiting: list[Route] = []
    page.route("**/api/products?*", lambda route: waiting.append(route))
    with page.expect_request("**/api/products?*"):
        page.get_by_role("link", name="Similar products").click()
    page.clock.run_for(100)
    expect(page.locator("#query h2")).to_be_visible()
    page.clock.run_for(100)
    expect(page.locator("#loading")).to_be_visible()
    expect(page.locator("#heading")).to_have_text("Loading…")
    expect(page.locator("#query")).to_be_hidden()
    expect(page.locator("#results")).to_be_hidden()
    page.go_back()  # to a product that is known
    expect(page.locator("#query h2")).to_be_visible()
    expect(page.locator("#loading")).to_be_hidden()
    page.go_forward()  # to a catalogue that never came
    page.clock.run_for(200)
    expect(page.locator("#loading")).to_be_visible()
    for route in waiting:
        route.continue_()
    expect(page.locator("#loading")).to_be_hidden()
    expect(page.locator("#results li")).not_to_have_count(0)
    page.context.close()
