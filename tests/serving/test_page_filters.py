"""Filters on the page: chips, the badge, notes at wrong prices, and where filters go with a shopper."""

import re

import pandas as pd
import pytest
from playwright.sync_api import Page, expect


def parameters(page: Page) -> dict[str, str]:
    """The parameters of the page's address."""
    found: dict[str, str] = page.evaluate("Object.fromEntries(new URLSearchParams(location.search))")
    return found


def test_chips_choose_a_category_and_count_it(page: Page, table: pd.DataFrame) -> None:
    counts = table.drop_duplicates("product_id")["category"].value_counts()
    name, n = str(counts.index[-1]), int(counts.iloc[-1])
    page.locator("#chips").get_by_role("button", name=f"{name}{n}").click()
    expect(page.locator("#status")).to_have_text(re.compile(rf"^{n} products?$"))
    expect(page.get_by_label("Category", exact=True)).to_have_value(name)
    chosen = page.locator("#chips button").first  # it was the last
    expect(chosen).to_have_text(f"{name}{n}")
    expect(chosen).to_have_attribute("aria-pressed", "true")
    expect(chosen).to_be_focused()
    chosen.press("Enter")
    expect(page.locator("#status")).to_have_text(f"{table['product_id'].nunique()} products")
    expect(page.locator("#chips").get_by_role("button", pressed=True)).to_have_count(0)


def test_filters_are_a_sheet_on_a_phone_and_a_badge_counts_them(page: Page, table: pd.DataFrame) -> None:
    page.set_viewport_size({"width": 390, "height": 780})
    category = page.get_by_label("Category", exact=True)
    expect(category).to_be_hidden()
    expect(page.locator("#badge")).to_be_hidden()
    page.get_by_role("button", name="Filters").click()
    expect(category).to_be_visible()
    category.select_option(table["category"].iloc[0])
    page.get_by_label("Highest price").fill("1,000,000")
    page.get_by_role("button", name="Show products").click()
    expect(category).to_be_hidden()
    expect(page.locator("#badge")).to_have_text("2")
    expect(page.locator("#chips").get_by_role("button", pressed=True)).to_have_count(2)
    page.get_by_role("button", name="Highest price 1000000").click()
    expect(page.locator("#badge")).to_have_text("1")
    page.get_by_role("button", name="Filters").click()
    page.mouse.click(195, 300)  # on a card, outside the sheet
    expect(category).to_be_hidden()
    assert "product" not in parameters(page)
    page.locator("#results a").first.click()
    expect(page.locator("#badge")).to_be_hidden()
    page.get_by_role("button", name="Filters").click()
    page.get_by_label("Like this, but").fill("red")
    page.get_by_role("button", name="Show products").click()
    expect(page.locator("#badge")).to_have_text("1")


def test_filters_of_the_catalogue_are_offered_where_products_are_similar(page: Page, table: pd.DataFrame) -> None:
    location = str(table["location"].value_counts().index[0])
    page.get_by_label("Location").select_option(location)
    expect(page.locator("#results .place").first).to_have_text(location)
    listed = page.locator("#status").inner_text()
    page.locator("#results a").first.click()
    expect(page.locator("#status")).to_have_text("24 products")
    assert set(parameters(page)) == {"product"}
    assert set(page.locator("#results .place").all_inner_texts()) > {location}
    page.reload()  # the offer stays, and is not in the address

    page.locator("#chips").get_by_role("button", name=location).click()
    expect(page.locator("#chips").get_by_role("button", name=location, pressed=True)).to_be_visible()
    assert set(page.locator("#results .place").all_inner_texts()) == {location}
    page.locator("#results a").first.click()  # kept on purpose, so it follows
    expect(page.locator("#results .place").nth(1)).to_have_text(location)
    assert set(parameters(page)) == {"product", "location"}
    page.locator("#chips").get_by_role("button", name=location, pressed=True).click()
    expect(page.locator("#chips").get_by_role("button", name=location, pressed=False)).to_be_visible()

    for _ in range(4):
        page.go_back()
    expect(page.locator("#heading")).to_have_text("Catalogue")
    expect(page.locator("#status")).to_have_text(listed)
    expect(page.get_by_label("Location")).to_have_value(location)
    expect(page.locator("#chips").get_by_role("button", pressed=True)).to_have_text(re.compile(location))


def test_a_wrong_price_is_a_note_at_its_field_and_the_results_stay(page: Page, url: str) -> None:
    lowest = page.get_by_label("Lowest price")
    highest = page.get_by_label("Highest price")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/products?" in request.url else None)
    for text in ("cheap", "-5", "12,5", "1.2.3", "1e400", "9" * 15):
        lowest.fill(text)
        expect(page.locator("#note-min_price")).to_have_text("Enter an amount such as 12.50.")
    expect(lowest).to_have_attribute("aria-invalid", "true")
    expect(lowest).to_have_attribute("aria-describedby", "note-min_price")
    assert asked == []  # photos may still come
    lowest.fill("£1,000")
    expect(page.locator("#note-min_price")).to_be_hidden()
    expect(page.locator("#chips").get_by_role("button", pressed=True)).to_have_text("Lowest price 1000")
    highest.fill("20")
    expect(page.locator("#note-max_price")).to_have_text("Below the lowest price.")
    expect(highest).to_have_attribute("aria-invalid", "true")
    highest.fill("2000")
    expect(page.locator("#chips").get_by_role("button", pressed=True)).to_have_count(2)
    lowest.fill("3000")
    expect(page.locator("#note-min_price")).to_have_text("Above the highest price.")
    assert parameters(page) == {"min_price": "1000", "max_price": "2000"}
    page.get_by_label("Location").select_option(index=1)
    lowest.fill("dear")  # at once: the choice just before it counts
    expect(page.locator("#chips").get_by_role("button", pressed=True)).to_have_count(3)
    assert set(parameters(page)) == {"location", "min_price", "max_price"}
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#note-min_price")).to_be_hidden()
    page.goto(f"{url}/?min_price=cheap")
    expect(page.locator("#note-min_price")).to_be_visible()
    expect(page.locator("#results li")).not_to_have_count(0)
    expect(page.get_by_role("alert")).to_be_hidden()


@pytest.mark.parametrize("again", ["map", "words"])
def test_filters_set_on_purpose_go_with_words_and_on_the_map(page: Page, table: pd.DataFrame, again: str) -> None:
    category = str(table["category"].iloc[0])
    if again == "map":
        page.get_by_role("link", name="Map").click()
        expect(page.locator("#map canvas")).to_be_visible()
        expect(page.get_by_label("Order")).to_be_hidden()
    else:
        page.locator("#results a").first.click()
        expect(page.locator("#query")).to_be_visible()
    page.get_by_label("Category", exact=True).select_option(category)
    expect(page.locator("#chips").get_by_role("button", name=category, pressed=True)).to_be_visible()
    page.get_by_label("Search", exact=True).fill("a")
    expect(page.locator("#heading")).to_have_text("“a”")
    assert parameters(page) == {"words": "a", "category": category}
