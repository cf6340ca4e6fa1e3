"""Take the pictures of README and docs: the page over this repository's pipeline, in headless Chromium.

    python benchmarks/pictures.py                          writes docs/pictures/*.webp, from the results of `dvc repro`
    python benchmarks/pictures.py --review main slower     also draws a review of the experiment in docs/EXPERIMENTS.md

It needs Chromium (Debian: `apt-get install chromium`) and the packages that `make lint` installs.
"""

import argparse
import contextlib
import io
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text
from workspace import ROOT, start_server, wait_for_answers

PICTURES = ROOT / "docs/pictures"
PRODUCT = "Blue couch"  # of the sample; README asks about it on the command line, too
SIZE = (1200, 800)
COMMAND = Path(sys.executable).with_name("marketplace")
TERMINAL = {"COLUMNS": "96", "TERM": "xterm-256color"}
FADING = 500  # milliseconds from one view to the next
REVIEW_LINES = 32  # the verdict and the metrics
# Images in sight; those further down load as one scrolls.
IN_SIGHT = "[...document.images].filter((image) => image.src && image.getBoundingClientRect().top < innerHeight)"
LOADED = f"Promise.all({IN_SIGHT}.map((image) => image.decode()))"

expect.set_options(timeout=20_000)


def main() -> None:
    """Parse the command line, take every picture, print the sizes of the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--review", nargs=2, metavar=("BASE", "HEAD"), help="revisions to draw the review of")
    options = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    with start_server() as (url, server), open_page() as page:
        wait_for_answers(url, server)
        show_search(page, url)
        take(page, "search")
        show_product(page)
        take(page, "product")
        show_why(page)
        take(page, "why", "#why")
        show_map(page, url)
        take(page, "map")
    if options.review:
        with open_page() as page:
            show_review(page, *options.review)
            take(page, "review", "pre")


@contextmanager
def open_page() -> Iterator[Page]:
    """Yield a page of a browser that moves nothing, light, as large as the pictures."""
    width, height = SIZE
    with sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        yield browser.new_page(
            viewport={"width": width, "height": height}, color_scheme="light", reduced_motion="reduce"
        )
        browser.close()


def show_search(page: Page, url: str) -> None:
    """Search the catalogue by words."""
    page.goto(url)
    expect(page.locator("#results li")).not_to_have_count(0)
    page.get_by_label("Search", exact=True).fill(PRODUCT.lower())
    expect(page.locator("#results .name").first).to_have_text(PRODUCT)


def show_product(page: Page) -> None:
    """Open the first product of the search."""
    page.locator("#results a").first.click()
    expect(page.locator("#query h2")).to_have_text(PRODUCT)
    expect(page.locator("#results li")).not_to_have_count(0)


def show_why(page: Page) -> None:
    """Ask why the first recommendation is there, and wait for the highlights."""
    page.get_by_role("button", name="Why this?").first.click()
    expect(page.locator("#why canvas")).to_have_count(2)


def show_map(page: Page, url: str) -> None:
    """Show the map of the catalogue."""
    page.goto(f"{url}/?view=map")
    expect(page.locator("#status")).to_contain_text("products")


def show_review(page: Page, base: str, head: str) -> None:
    """Show the beginning of a review as a terminal draws it."""
    lines = run_in_terminal("review", base, head).splitlines()[:REVIEW_LINES]
    console = Console(record=True, file=io.StringIO(), width=int(TERMINAL["COLUMNS"]))
    console.print(Text.from_ansi(f"$ marketplace review {base} {head}\n" + "\n".join(lines)))
    style = "pre { display: inline-block; padding: 16px; font: 15px/1.3 monospace; color: #ddd; background: #1a1a1a }"
    drawn = console.export_html(theme=MONOKAI, inline_styles=True, code_format="<pre>{code}</pre>")
    page.set_content(f"<style>{style}</style>{drawn}")


def run_in_terminal(*arguments: str) -> str:
    """Run `marketplace` in a terminal; return everything it draws. Its exit status does not matter."""
    own, terminal = pty.openpty()
    with subprocess.Popen([COMMAND, *arguments], cwd=ROOT, stdout=terminal, env=os.environ | TERMINAL):
        os.close(terminal)
        output = b""
        with contextlib.suppress(OSError):  # Linux: the last process has closed the terminal
            while part := os.read(own, 65536):
                output += part
    os.close(own)
    return output.decode()


def take(page: Page, name: str, part: str | None = None) -> None:
    """Write a picture of the page, or of a part of it, once everything is loaded."""
    page.mouse.move(0, 0)
    page.wait_for_load_state("networkidle")
    page.evaluate(LOADED)
    page.wait_for_timeout(FADING)
    shot = page.locator(part).screenshot(animations="disabled") if part else page.screenshot(animations="disabled")
    path = PICTURES / f"{name}.webp"
    Image.open(io.BytesIO(shot)).convert("RGB").save(path, quality=80, method=6)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
