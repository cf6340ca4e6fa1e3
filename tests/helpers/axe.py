"""axe-core, which finds obstacles to assistive technology."""

from playwright.sync_api import Page

AXE = "axe-core@4.10.3"


def violations(page: Page, axe: str) -> list[str]:
    """The violations on a page; `axe` is the script."""
    page.evaluate(axe)
    found: list[str] = page.evaluate(
        "axe.run().then((found) => found.violations.map((one) => `${one.id}: ${one.nodes[0].html}`))"
    )
    return found
