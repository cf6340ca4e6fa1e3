"""Going back and forth on the page, explanations, orders, and what assistive technology finds there."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from helpers.axe import violations
from helpers.project import Project
from playwright.sync_api import Browser, Page, expect

from marketplace.serving.feedback import FEEDBACK, Feedback, Thumb

ALPHA = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [...data].filter((_, place) => place % 4 === 3);
}"""


def ids(page: Page) -> list[str]:
    """The products that are listed."""
    listed: list[str] = page.locator("#results a").evaluate_all(
        "links => links.map((link) => new URL(link).searchParams.get('product'))"
    )
    return listed


def test_back_keeps_your_place(page: Page, table: pd.DataFrame) -> None:
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("#results li")).to_have_count(table["product_id"].nunique())
    before = ids(page)
    page.locator("#results a").nth(60).scroll_into_view_if_needed()
    scrolled = page.evaluate("scrollY")
    assert scrolled > 500
    page.locator("#results a").nth(60).click()
    expect(page.locator("#query")).to_be_visible()
    assert page.evaluate("scrollY") == 0
    page.go_back()
    expect(page.locator("#query")).to_be_hidden()
    assert ids(page) == before
    assert page.evaluate("scrollY") == pytest.approx(scrolled, abs=2)
    page.go_forward()
    expect(page.locator("#query")).to_be_visible()


def test_typing_makes_one_entry_in_the_history(page: Page) -> None:
    entries = page.evaluate("history.length")
    for letter in "red chair":
        page.get_by_label("Search", exact=True).press_sequentially(letter)
        page.wait_for_timeout(300)
    expect(page.locator("#heading")).to_have_text("“red chair”")
    assert page.evaluate("history.length") == entries + 1
    page.go_back()
    expect(page.locator("#heading")).to_have_text("Catalogue")
    expect(page.get_by_label("Search", exact=True)).to_have_value("")


def test_a_question_about_a_photo_survives_back_but_not_a_reload(page: Page, photo: Path) -> None:
    page.locator("#photo").set_input_files(photo)
    expect(page.locator("#query h2")).to_have_text("Your photo")
    found = ids(page)
    page.locator("#results a").first.click()
    expect(page.locator("#query h2")).not_to_have_text("Your photo")
    page.go_back()
    expect(page.locator("#query h2")).to_have_text("Your photo")
    assert ids(page) == found
    page.get_by_label("Like this, but").fill("red")
    expect(page).to_have_url(re.compile("but=red"))
    page.reload()
    expect(page.locator("#query")).to_contain_text("Choose a photo")
    expect(page.locator("#results li")).to_have_count(0)
    with page.expect_response(re.compile("api/similar.*words=red")):  # the same photo goes on with the question
        page.set_input_files("#photo", photo)
    expect(page.locator("#query canvas")).to_be_visible()
    expect(page).to_have_url(re.compile("but=red"))


def test_escape_goes_back_to_where_one_came_from(page: Page, url: str) -> None:
    page.goto(f"{url}/?words=red")
    expect(page.locator("#heading")).to_have_text("“red”")
    found = ids(page)
    page.locator("#results a").first.click()
    expect(page.locator("#query")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#heading")).to_have_text("“red”")
    assert ids(page) == found
    page.get_by_role("link", name="Map").click()
    expect(page.locator("#heading")).to_have_text("Map of the catalogue")
    page.keyboard.press("Escape")
    expect(page.locator("#heading")).to_have_text("“red”")
    expect(page.locator("#map")).to_be_hidden()


def test_a_failed_question_leaves_nothing_of_the_one_before(page: Page, tmp_path: Path) -> None:
    (tmp_path / "page.jpg").write_text("<html>")
    page.locator("#photo").set_input_files(tmp_path / "page.jpg")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator("#results li")).to_have_count(0)
    page.get_by_role("button", name="Show the whole catalogue").click()
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("#results li")).not_to_have_count(0)


def test_every_recommendation_says_why(page: Page) -> None:
    page.locator("#results a").first.click()
    asked = page.locator("#query h2").inner_text()
    page.get_by_role("button", name=re.compile("Why this?")).first.click()
    dialog = page.get_by_role("dialog", name="Why this?")
    expect(dialog).to_be_visible()
    expect(dialog.locator("figcaption").first).to_have_text(asked)
    expect(dialog.locator("img")).to_have_count(2)
    expect(dialog).to_contain_text("Words in common")
    warm = dialog.get_by_label("Highlight what the photos share")
    expect(warm).to_be_checked()
    expect(dialog.locator("canvas")).to_have_count(2)
    assert max(max(dialog.locator("canvas").nth(n).evaluate(ALPHA)) for n in (0, 1)) == 190
    warm.uncheck()
    expect(dialog.locator("canvas").first).to_be_hidden()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()


def test_a_thumb_is_kept_until_it_is_taken_back(page: Page, reproduced: Project) -> None:
    page.locator("#results a").first.click()
    product_id = page.evaluate("new URLSearchParams(location.search).get('product')")
    up = page.get_by_role("button", name=re.compile("A good recommendation")).first
    down = page.get_by_role("button", name=re.compile("A bad recommendation")).first
    up.click()
    other = ids(page)[0]
    expect(up).to_have_attribute("aria-pressed", "true")
    down.click()
    expect(down).to_have_attribute("aria-pressed", "true")
    expect(up).to_have_attribute("aria-pressed", "false")
    page.reload()
    expect(page.get_by_role("button", name=re.compile("A bad recommendation")).first).to_have_attribute(
        "aria-pressed", "true"
    )
    thumb = Thumb(product_id=product_id, similar_product_id=other, good=False)
    assert thumb in Feedback(reproduced.folder / FEEDBACK).thumbs()
    page.get_by_role("button", name=re.compile("A bad recommendation")).first.click()
    expect(page.get_by_role("button", name=re.compile("A bad recommendation")).first).to_have_attribute(
        "aria-pressed", "false"
    )
    assert Feedback(reproduced.folder / FEEDBACK).thumbs(product_id) == []


@pytest.mark.parametrize("when", ["before the page is shown", "before the click"])
def test_without_thumbs_the_page_shows_everything_else(page: Page, reproduced: Project, when: str) -> None:
    path = reproduced.folder / FEEDBACK
    Feedback(path).give("one", "other", True)
    card = page.locator("#results a").first
    thumb = page.locator("#results .thumb").first
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        if when == "before the click":
            card.click()
            expect(thumb).to_be_visible()  # those of the catalogue are hidden
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("DELETE FROM feedback WHERE product_id = 'one'")
        if when == "before the click":
            thumb.click()
        else:
            card.click()
        expect(thumb).to_be_disabled()
        expect(thumb).to_have_attribute("title", "Ratings cannot be stored at the moment")
        expect(page.get_by_role("alert")).to_be_hidden()
        expect(page.locator("#query h2")).not_to_be_empty()
        expect(page.locator("#results li")).not_to_have_count(0)


def test_what_is_similar_can_be_ordered_and_continued(page: Page, table: pd.DataFrame) -> None:
    page.locator("#results a").first.click()
    expect(page.locator("#results a")).to_have_count(24)
    best = ids(page)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("#results a")).to_have_count(48)
    assert ids(page)[:24] == best
    page.get_by_label("Order").select_option("cheapest")
    expect(page.locator("#results a")).to_have_count(24)
    expect(page.locator("#results .price").first).not_to_have_text("no price")
    assert sorted(ids(page)) == sorted(best)
    price = table.drop_duplicates("product_id").set_index("product_id")["price"].map(float)
    listed = [price[product_id] for product_id in ids(page) if price[product_id] == price[product_id]]
    assert listed == sorted(listed)


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1200, "light"), (1920, "dark")])
def test_assistive_technology_stumbles_over_nothing(
    browser: Browser, url: str, axe: str, photo: Path, scheme: str, width: int
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = context.new_page()
    page.goto(url)
    expect(page.locator("#results li")).not_to_have_count(0)
    assert violations(page, axe) == []
    if width == 390:
        page.get_by_role("button", name="Filters").click()
    page.get_by_label("Location").select_option(index=1)
    page.get_by_label("Lowest price").fill("cheap")
    expect(page.locator("#chips button").first).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_text("Enter an amount such as 12.50.")).to_be_visible()
    assert violations(page, axe) == []
    if width == 390:
        page.get_by_role("button", name="Show products").click()
    page.locator("#results a").first.click()
    expect(page.locator("#query")).to_be_visible()
    page.get_by_text("Details").click()
    assert violations(page, axe) == []
    page.get_by_role("button", name=re.compile("Enlarge photo")).first.click()
    assert violations(page, axe) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name=re.compile("Why this?")).first.click()
    expect(page.get_by_role("dialog", name="Why this?")).to_be_visible()
    assert violations(page, axe) == []
    page.keyboard.press("Escape")
    page.locator("#photo").set_input_files(photo)
    expect(page.locator("#query h2")).to_have_text("Your photo")
    assert violations(page, axe) == []
    page.goto(f"{url}/?view=map")
    expect(page.locator("#map canvas")).to_be_visible()
    assert violations(page, axe) == []
    page.locator("#map canvas").press("Enter")
    expect(page.locator("#results li").first).to_be_visible()
    assert violations(page, axe) == []
    page.goto(f"{url}/?judge")
    expect(page.locator("#judge")).to_be_visible()
    assert violations(page, axe) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.goto(f"{url}/?product=nothing")
    expect(page.get_by_role("alert")).to_be_visible()
    assert violations(page, axe) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
