"""The page in a real browser: headless Chromium, driven by Playwright, against the real server."""

import re
from pathlib import Path

import pandas as pd
import pytest
from helpers.filters import example_values, passes
from helpers.project import Project
from playwright.sync_api import Browser, Page, expect

from marketplace.recommendation.filters import CONDITIONS, KIND_OF, Filters
from marketplace.recommendation.products import price_text, products_of

SIMILAR = re.compile(r"^(Similar|No close match\. Nearest:)$")  # the tests' model has trained for a minute at most


def test_the_catalogue_is_there_with_its_photos(page: Page, table: pd.DataFrame) -> None:
    expect(page.locator("#status")).to_have_text(re.compile(rf"^{table['product_id'].nunique()} products$"))
    photos = page.locator("#results img")
    expect(photos.first).to_be_visible()
    for place in range(6):
        expect(photos.nth(place)).not_to_have_js_property("naturalWidth", 0)  # loaded


def test_show_more_brings_the_rest(page: Page, table: pd.DataFrame) -> None:
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("#results li")).to_have_count(min(96, table["product_id"].nunique()))


def test_a_click_on_a_product_shows_it_and_what_is_similar(page: Page, reproduced: Project, url: str) -> None:
    listed = pd.read_parquet(reproduced.folder / "data/recommendations.parquet")
    card = page.locator("#results a").first
    name = card.locator(".name").inner_text()
    card.click()
    expect(page.locator("#query h2")).to_have_text(name)
    page.get_by_text("Details").click()
    asked = page.locator("#query dd").inner_text()
    expect(page.locator("#heading")).to_have_text(SIMILAR)
    links = page.locator("#results a").evaluate_all(
        "links => links.map((link) => new URL(link).searchParams.get('product'))"
    )
    assert links[:10] == listed.loc[listed["product_id"] == asked, "similar_product_id"].tolist()
    page.reload()  # the address says it all
    expect(page.locator("#query h2")).to_have_text(name)
    page.go_back()
    expect(page.locator("#heading")).to_have_text("Catalogue")
    expect(page.locator("#query")).to_be_hidden()


def test_words_and_filters_narrow_the_catalogue(page: Page, table: pd.DataFrame) -> None:
    category = table["category"].iloc[0]
    page.get_by_label("Category").select_option(category)
    expected = table[table["category"] == category]["product_id"].nunique()
    expect(page.locator("#status")).to_have_text(f"{expected} products")
    page.get_by_label("Lowest price").fill("£10")
    dearer = table[(table["category"] == category) & (table["price"] >= 10)]["product_id"].nunique()
    expect(page.locator("#status")).to_have_text(re.compile(rf"^{dearer} product|^No products match"))
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Search", exact=True).fill("zzqx wvvk")
    expect(page.locator("#status")).to_have_text("No products match. Remove a filter or try other words.")
    expect(page.locator("#results li")).to_have_count(0)


def test_a_misspelt_word_is_corrected_and_the_page_says_so(page: Page, table: pd.DataFrame) -> None:
    name = table["product_name"].iloc[0]
    word = max(name.split(), key=len)
    misspelt = word[:2] + word[3:]
    page.get_by_label("Search", exact=True).fill(misspelt)
    expect(page.locator("#status")).to_have_text(
        re.compile(rf"Nothing is called “{misspelt}”: showing “{word.lower()}”\.$")
    )
    expect(page.locator("#results li").first).to_contain_text(word)


@pytest.mark.parametrize("name", CONDITIONS)
def test_each_filter_has_an_input(page: Page, table: pd.DataFrame, name: str) -> None:
    products = products_of(table).table
    value = example_values(products, name)[0]
    control = page.locator(f"#filters [name={name}]")
    if KIND_OF[name] == "choice":
        control.select_option(value)
    elif KIND_OF[name] == "amount":
        control.fill(f"£{value}")
    else:
        control.check()
    n = int(passes(products, Filters(**{name: value})).sum())
    expect(page.locator("#status")).to_have_text(f"{n} product{'' if n == 1 else 's'}")
    page.reload()  # the address has it
    expect(page.locator("#status")).to_have_text(f"{n} product{'' if n == 1 else 's'}")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#status")).to_have_text(f"{len(products)} products")


def test_filters_hold_for_what_is_similar(page: Page, table: pd.DataFrame) -> None:
    page.locator("#results a").first.click()
    expect(page.locator("#heading")).to_have_text(SIMILAR)
    location = table["location"].value_counts().index[0]
    page.get_by_label("Location").select_option(location)
    expect(page.locator("#results .place").first).to_have_text(location)
    assert set(page.locator("#results .place").all_inner_texts()) == {location}


def test_an_uploaded_photo_finds_its_product(page: Page, photo: Path, table: pd.DataFrame) -> None:
    page.locator("#photo").set_input_files(photo)
    expect(page.locator("#query h2")).to_have_text("Your photo")
    href = page.locator("#results a").first.get_attribute("href") or ""
    same = table.loc[table["sha256"] == table["sha256"][0], "product_id"]
    assert any(product_id in href for product_id in same)
    page.get_by_label("Category").select_option(index=1)  # the photo stays
    expect(page.locator("#query h2")).to_have_text("Your photo")


def test_a_dropped_photo_is_taken_like_a_chosen_one(page: Page, photo: Path) -> None:
    script = """async (bytes) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], 'mine.png', { type: 'image/png' }));
        dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, cancelable: true }));
    }"""
    page.evaluate(script, list(photo.read_bytes()))
    expect(page.locator("#query h2")).to_have_text("Your photo")
    expect(page.locator("#results li").nth(23)).to_be_attached()  # 24 similar products, after the same item


def test_a_photo_that_is_dragged_is_welcomed_after_dragged_text_too(page: Page) -> None:
    script = """(file) => {
        const transfer = new DataTransfer();
        if (file) transfer.items.add(new File(["x"], "mine.png", { type: "image/png" }));
        else transfer.setData("text/plain", "some words");
        dispatchEvent(new DragEvent("dragenter", { dataTransfer: transfer }));
        if (!file) dispatchEvent(new DragEvent("dragleave", { dataTransfer: transfer }));
    }"""
    page.evaluate(script, False)
    expect(page.locator("#drop")).to_be_hidden()
    page.evaluate(script, True)
    expect(page.locator("#drop")).to_be_visible()


def test_what_is_no_photo_is_explained_and_the_page_goes_on(page: Page, tmp_path: Path) -> None:
    (tmp_path / "page.jpg").write_text("<script>alert(1)</script>")
    page.locator("#photo").set_input_files(tmp_path / "page.jpg")
    expect(page.get_by_role("alert")).to_contain_text("the photo cannot be read: it is not an image")
    page.get_by_role("link", name="Similar products").click()
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("#heading")).to_have_text("Catalogue")


def test_an_unknown_product_is_explained(page: Page, url: str) -> None:
    page.goto(f"{url}/?product=nothing")
    expect(page.get_by_role("alert")).to_contain_text("no product has the id 'nothing'")


def test_it_works_by_keyboard_alone(page: Page) -> None:
    page.keyboard.press("/")
    expect(page.get_by_label("Search", exact=True)).to_be_focused()
    page.locator("#results").focus()
    page.keyboard.press("Tab")
    expect(page.locator("#results a").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#query")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#query")).to_be_hidden()


def test_nothing_sticks_out_on_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 720})
    page.locator("#results a").first.click()
    expect(page.locator("#query")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_texts_of_products_are_never_run(page: Page, url: str) -> None:
    evil = '<img src=x onerror="document.title=1">'
    answer = {
        "total": 1,
        "products": [
            {
                "product_id": evil,
                "name": evil,
                "category": evil,
                "price": "1",
                "location": evil,
                "image_ids": ["x"],
            }
        ],
    }
    page.route("**/api/products?*", lambda route: route.fulfill(json=answer))
    page.goto(f"{url}/?words=evil")
    expect(page.locator("#results .name")).to_have_text(evil)
    expect(page.locator("#results .name img")).to_have_count(0)
    expect(page).to_have_title("“evil” · Similar products")


def test_the_gallery_is_one_file_that_needs_nothing_else(browser: Browser, reproduced: Project) -> None:
    recommended = pd.read_parquet(reproduced.folder / "data/recommendations.parquet")
    facts = pd.read_parquet(reproduced.folder / "data/clean/training_data.parquet").drop_duplicates("product_id")
    facts = facts.set_index("product_id")
    page = browser.new_page()
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto((reproduced.folder / "reports/gallery.html").as_uri())
    assert [address for address in requested if not address.startswith("data:")] == [page.url]
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert page.locator("h2").all_inner_texts() == ["Typical products", "The least sure"]

    first = recommended[recommended["product_id"].map(facts["split"]).eq("test") & recommended["rank"].eq(1)]
    first = first[~first["same_photo"] & ~first["same_text"]]
    least = first.sort_values(["probability", "score", "product_id"]).iloc[0]
    case = page.locator("h2:has-text('least sure') ~ .case").first
    expect(case.locator("div.query")).to_contain_text(f"first one good: {100 * least['probability']:.0f} %")
    expect(case.locator("div.query")).to_contain_text(facts["product_name"][least["product_id"]])
    similar = facts.loc[least["similar_product_id"]]
    price = price_text(similar["price"], similar["currency"])
    expect(case.locator(".similar figcaption").first).to_contain_text(f"{price} {similar['product_name']}")
    page.close()
