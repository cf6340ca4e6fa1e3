"""The map of the catalogue in a real browser, by fingers, the mouse and keys."""

import json
import math
from collections.abc import Iterator
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect

MARGIN = 24  # pixels between the outermost dots and the border of the map
PIXEL = """(canvas, [x, y]) => {
  const scale = devicePixelRatio;
  return [...canvas.getContext("2d").getImageData(x * scale, y * scale, 1, 1).data].slice(0, 3);
}"""
Point = tuple[float, float]


class Finger:
    """Fingers on the map's canvas: points are in pixels from its corner."""

    def __init__(self, page: Page, session: CDPSession) -> None:
        self._page = page
        self._session = session

    def corner(self) -> Point:
        box = self._page.locator("#map canvas").bounding_box()
        assert box is not None
        return box["x"], box["y"]

    def touch(self, kind: str, *points: Point) -> None:
        left, top = self.corner()
        touches = [{"x": left + x, "y": top + y, "id": number} for number, (x, y) in enumerate(points)]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    def stroke(self, *paths: list[Point]) -> None:
        """Move one finger along each path, all at once."""
        self.touch("touchStart", *[path[0] for path in paths])
        for points in list(zip(*paths, strict=True))[1:]:
            self.touch("touchMove", *points)
        self.touch("touchEnd")

    def tap(self, point: Point) -> None:
        left, top = self.corner()
        self._page.touchscreen.tap(left + point[0], top + point[1])


def ask_map(url: str, **filters: str) -> pd.DataFrame:
    """The places on the map, by product id."""
    with urlopen(f"{url}/api/map?{urlencode(filters)}") as answer:
        return pd.DataFrame(json.load(answer)).set_index("product_id")


@pytest.fixture(scope="module")
def places(url: str) -> pd.DataFrame:
    """The places of all products."""
    return ask_map(url)


@pytest.fixture
def phone(browser: Browser, url: str) -> Iterator[Page]:
    """The map on a phone. Whatever the browser complains of fails the test."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{url}/?view=map")
    expect(page.locator("#map canvas")).to_be_visible()
    yield page
    context.close()
    assert complaints == []


def spots(page: Page, places: pd.DataFrame) -> pd.DataFrame:
    """Where the dots are on the canvas as long as it shows the whole map, in pixels."""
    box = page.locator("#map canvas").bounding_box()
    assert box is not None
    across = MARGIN + (places["x"] + 1) / 2 * (box["width"] - 2 * MARGIN)
    down = MARGIN + (1 - places["y"]) / 2 * (box["height"] - 2 * MARGIN)
    return pd.DataFrame({"x": across, "y": down})


def distances(dots: pd.DataFrame) -> np.ndarray:
    points = dots[["x", "y"]].to_numpy()
    apart: np.ndarray = np.linalg.norm(points[:, None] - points[None], axis=2)
    return apart


def loneliest(dots: pd.DataFrame) -> str:
    """The product whose dot is the farthest from all others."""
    apart = distances(dots)
    np.fill_diagonal(apart, np.inf)
    return str(dots.index[apart.min(axis=1).argmax()])


def point(dots: pd.DataFrame, product_id: str) -> Point:
    return float(dots.loc[product_id, "x"]), float(dots.loc[product_id, "y"])


def empty_point(dots: pd.DataFrame) -> Point:
    """A point that no dot is within reach of, away from the buttons and the cards on the map."""
    grid = [(float(x), float(y)) for x in range(20, 300, 10) for y in range(150, 330, 10)]
    return max(grid, key=lambda spot: float(np.hypot(dots["x"] - spot[0], dots["y"] - spot[1]).min()))


def test_fingers_open_cards_pinch_move_and_draw_an_area(phone: Page, places: pd.DataFrame) -> None:
    finger = Finger(phone, phone.context.new_cdp_session(phone))
    card = phone.locator(".place-card")
    dots = spots(phone, places)

    product_id = loneliest(dots)
    x, y = point(dots, product_id)
    apart = (dots["x"] - x) ** 2 + (dots["y"] - y) ** 2
    assert apart.nsmallest(2).iloc[1] > 20**2
    finger.tap((x + 9, y + 9))  # within 14 pixels
    expect(card.locator(".name")).to_have_text(places.loc[product_id, "name"])
    expect(card.locator("img")).not_to_have_js_property("naturalWidth", 0)
    expect(card.locator(".price")).not_to_be_empty()
    assert str(card.locator("a").get_attribute("href")) == f"?product={product_id}"
    finger.tap(empty_point(dots))
    expect(card).to_be_hidden()

    # Two fingers that spread keep the points under them: a dot between them moves away from their middle.
    middle = (150.0, 220.0)
    inner = [(middle[0] - step, middle[1]) for step in (30.0, 45.0, 60.0)]
    outer = [(middle[0] + step, middle[1]) for step in (30.0, 45.0, 60.0)]
    finger.stroke(inner, outer)
    zoomed = np.array(middle) + 2 * (dots - np.array(middle))
    finger.stroke([(200.0, 300.0), (190.0, 290.0), (170.0, 275.0)])
    moved = zoomed + np.array([-30.0, -25.0])
    seen = moved[(moved["x"].between(40, 280)) & (moved["y"].between(170, 330))]
    product_id = loneliest(seen)
    finger.tap(point(seen, product_id))
    expect(card.locator(".name")).to_have_text(places.loc[product_id, "name"])
    phone.get_by_role("button", name="Close").click()

    phone.get_by_role("button", name="Draw an area").click()
    left, right, top, bottom = 60.0, 280.0, 120.0, 300.0
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    finger.stroke(corners)
    inside = moved[moved["x"].between(left, right) & moved["y"].between(top, bottom)]
    expect(phone.locator(".area-list h2")).to_have_text(f"{len(inside)} products in the area")
    links = phone.locator("#results a").evaluate_all(
        "links => links.map((link) => new URL(link).searchParams.get('product'))"
    )
    assert set(links) == set(inside.index)
    assert len(inside) > 3
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    phone.get_by_role("button", name="Clear", exact=True).click()
    expect(phone.locator("#results a")).to_have_count(0)


def test_the_mouse_shows_a_card_and_a_filter_changes_no_colour(
    page: Page, url: str, places: pd.DataFrame, table: pd.DataFrame
) -> None:
    page.get_by_role("link", name="Map").click()
    canvas = page.locator("#map canvas")
    expect(canvas).to_be_visible()
    expect(page.locator("#status")).to_contain_text(f"{table['product_id'].nunique()} products")
    assert set(places.index) == set(table["product_id"])
    dots = spots(page, places)
    product_id = loneliest(dots)
    name = places.loc[product_id, "name"]
    box = canvas.bounding_box()
    assert box is not None
    x, y = point(dots, product_id)
    colour = canvas.evaluate(PIXEL, [x, y])

    page.mouse.move(box["x"] + x, box["y"] + y)
    card = page.locator(".place-card")
    expect(card.locator(".name")).to_have_text(name)
    expect(card.get_by_role("button", name="Close")).to_be_hidden()
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    expect(card).to_be_hidden()
    page.mouse.click(box["x"] + x, box["y"] + y)
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    expect(card.get_by_role("link")).to_contain_text(name)
    page.keyboard.press("Escape")  # closes the card, and leaves the map open
    expect(card).to_be_hidden()
    page.mouse.click(box["x"] + x, box["y"] + y)
    card.get_by_role("link").click()
    expect(page.locator("#query h2")).to_have_text(name)
    expect(page.locator("#map")).to_be_hidden()
    page.go_back()
    expect(canvas).to_be_visible()

    category = places.loc[product_id, "category"]
    page.get_by_label("Category", exact=True).select_option(category)
    own = places[places["category"] == category]
    expect(page.locator(".legend button")).to_have_count(1)
    expect(page.locator("#status")).to_contain_text(f"{len(own)} product")
    pd.testing.assert_frame_equal(ask_map(url, category=category), own)
    assert math.dist(canvas.evaluate(PIXEL, [x, y]), colour) < 3


def test_a_product_is_shown_on_the_map_and_keys_list_its_neighbours(page: Page, places: pd.DataFrame) -> None:
    page.locator("#results a").first.click()
    name = page.locator("#query h2").inner_text()
    page.get_by_role("link", name="Show on the map").click()
    card = page.locator(".place-card")
    expect(card.locator(".name")).to_have_text(name)
    canvas = page.locator("#map canvas")
    box = canvas.bounding_box()
    assert box is not None
    page.get_by_role("button", name="Close").click()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)  # it is in the centre
    expect(card.locator(".name")).to_have_text(name)

    canvas.focus()
    page.keyboard.press("Enter")
    few = int(page.locator(".area-list h2").inner_text().split()[0])
    expect(page.locator("#results a")).to_have_count(min(few, 96))
    assert few < len(places)
    expect(page.locator("#results .name").first).to_be_visible()
    for _ in range(6):
        page.keyboard.press("-")
    page.keyboard.press("Enter")
    expect(page.locator(".area-list h2")).to_contain_text(f"{len(places)} products in view")
    page.keyboard.press("Escape")  # the list goes, then the map
    expect(page.locator("#results a")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.locator("#query h2")).to_have_text(name)
