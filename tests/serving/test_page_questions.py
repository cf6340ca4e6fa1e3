"""Questions on the page: a photo that is turned and cropped, words for a product, thumbs, and suggestions."""

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pillow_heif
from PIL import Image
from playwright.sync_api import FloatRect, Locator, Page, Route, expect


def parameters(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def wait_for_box(locator: Locator) -> FloatRect:
    """Return where an element is; the page may be replacing it, even if it was visible just now."""
    for _ in range(50):
        box = locator.bounding_box()
        if box is not None:
            return box
        locator.page.wait_for_timeout(100)
    raise AssertionError("the element has no place on the page")


def test_a_photo_shows_its_category_its_listing_and_what_is_similar(page: Page, photo: Path, tmp_path: Path) -> None:
    page.set_input_files("#photo", photo)
    expect(page.locator("#heading")).to_have_text("The same item")
    expect(page.locator("#query .facts")).to_contain_text(re.compile(r"Looks like .+ \(\d+%\)"))
    expect(page.locator("#results .divider.title")).to_have_text(re.compile("Similar|No close match"))
    scores = [float(text.split()[-1]) for text in page.locator("#results .score").all_inner_texts()]
    place = page.locator("#results li").evaluate_all("items => items.findIndex((item) => item.matches('.title'))")
    assert scores[0] > 0.99
    assert scores[:place] == sorted(scores[:place], reverse=True)
    assert scores[place:] == sorted(scores[place:], reverse=True)

    with page.expect_response(re.compile("api/similar.*turn=90")) as answer:
        page.get_by_role("button", name="Turn").click()
    assert answer.value.ok
    canvas = page.locator(".crop canvas")
    expect(canvas).to_be_visible()
    box = wait_for_box(canvas)
    corner = (box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    with page.expect_response(re.compile("api/similar.*crop=")) as answer:
        page.mouse.move(*corner)
        page.mouse.down()
        page.mouse.move(corner[0] + box["width"] / 2, corner[1] + box["height"] / 4, steps=3)
        page.mouse.up()
    assert answer.value.ok
    expect(page.locator(".selection")).to_be_visible()
    edges = [float(edge) for edge in parameters(page)["crop"].split(",")]
    assert [round(edge, 1) for edge in edges] in ([0.2, 0.5, 0.8, 0.8], [0.3, 0.5, 0.7, 0.7], [0.2, 0.5, 0.7, 0.7])
    assert parameters(page)["turn"] == "90"
    asked = page.locator(".selection").get_attribute("style")
    page.mouse.click(*corner)  # too short a drag to be a part
    expect(page.locator(".selection")).to_have_attribute("style", asked or "")
    expect(page.locator(".selection")).to_be_visible()
    with page.expect_response(re.compile("api/similar.*crop=")):
        page.mouse.move(*corner)
        page.mouse.down()
        page.mouse.move(corner[0] + box["width"] / 4, corner[1] + box["height"] / 4, steps=3)
        page.mouse.up()
    expect(page.locator(".selection")).not_to_have_attribute("style", asked or "")
    page.go_back()
    expect(page.locator(".selection")).to_have_attribute("style", asked or "")
    expect(page.locator(".selection")).to_be_visible()
    page.go_back()
    expect(page.locator(".selection")).to_be_hidden()
    page.get_by_role("button", name="Turn").click()
    expect(page).to_have_url(re.compile("turn=180"))

    heic = tmp_path / "phone.heic"
    pillow_heif.from_pillow(Image.open(photo).convert("RGB")).save(heic)
    page.set_input_files("#photo", heic)  # searched for, though Chromium cannot show it
    expect(page.locator("#query .crop")).to_have_text("This browser cannot show your photo’s format.")
    expect(page.locator("#heading")).to_have_text("The same item")
    expect(page.locator("#query .tools")).to_have_text("Turn")


def test_a_product_is_asked_about_with_words_thumbs_and_a_balance(page: Page, table: pd.DataFrame) -> None:
    page.locator("#results a").first.click()
    expect(page.locator("#results .tools").first).to_be_visible()
    ids = page.locator("#results a").evaluate_all("links => links.map((a) => new URL(a).searchParams.get('product'))")
    with page.expect_response(re.compile("api/similar.*words=red")):
        page.get_by_label("Like this, but").fill("red -old")
    with page.expect_response(re.compile("api/similar.*weights=kind%3D0&")):
        page.get_by_label("From looks to words").fill("4")
    page.get_by_label("Like this, but").fill("")
    page.get_by_label("From looks to words").fill("2")
    expect(page).not_to_have_url(re.compile("but|balance"))
    page.reload()  # no answer to an earlier question comes any more
    expect(page.locator("#results .thumb").first).to_be_visible()
    page.locator(f'#results li:has(a[href*="{ids[3]}"]) .thumb[value=true]').click()
    page.locator(f'#results li:has(a[href*="{ids[0]}"]) .thumb[value=false]').click()
    expect(page.locator(".thumb[aria-pressed=true]")).to_have_count(2)
    with page.expect_response(re.compile(rf"api/similar.*like={ids[3]}.*unlike={ids[0]}")) as answer:
        page.get_by_role("button", name="Use my thumbs").click()
    shown = [entry["product"]["product_id"] for entry in answer.value.json()["similar"]]
    assert not {ids[0], ids[3]} & set(shown)
    expect(page.get_by_role("button", name="Use my thumbs")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Use my thumbs").click()
    expect(page.locator(f'#results a[href*="{ids[0]}"]')).to_be_visible()
    for product_id in (ids[0], ids[3]):  # other tests count thumbs
        page.locator(f'#results li:has(a[href*="{product_id}"]) .thumb[aria-pressed=true]').click()
    expect(page.locator(".thumb[aria-pressed=true]")).to_have_count(0)
    page.locator("#results a").first.click()
    expect(page).not_to_have_url(re.compile("more|less"))


def test_a_divider_follows_the_last_close_product_of_a_diverse_list(page: Page) -> None:
    def answer(route: Route) -> None:
        response = route.fetch()
        found = response.json()
        for place, one in enumerate(found["similar"]):
            one["close"] = place in (0, 2)
        route.fulfill(response=response, json=found)

    page.route("**/api/similar?*", answer)
    page.locator("#results a").first.click()
    expect(page.locator("#results .divider")).to_have_text("Less similar")
    expect(page.locator("#results li").nth(3)).to_have_text("Less similar")


def test_searches_are_suggested_and_remembered(page: Page, table: pd.DataFrame) -> None:
    category = table["category_path"].iloc[0].split(" / ")[-1]
    search = page.get_by_label("Search", exact=True)
    search.press_sequentially(category[:4])
    expect(page.locator(f'#suggestions option[value="{category}"]')).to_have_attribute("label", "category")
    search.fill("red")
    search.press("Enter")
    expect(page.locator("#heading")).to_have_text("“red”")
    page.reload()
    search.fill("")
    search.blur()
    search.focus()
    expect(page.locator('#suggestions option[value="red"]')).to_have_attribute("label", "recent search")
