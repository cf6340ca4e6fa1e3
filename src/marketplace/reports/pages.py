"""HTML pages in one file each, photos included, that need no other file."""

import base64
from dataclasses import dataclass
from pathlib import Path

import jinja2

from marketplace.common.files import replacing

TEMPLATES = Path(__file__).parent / "templates"
CARD_PIXELS = 120  # a side of a card's photo; a phone shows it at about half that size


@dataclass(frozen=True)
class Card:
    """A product in a row of a page."""

    photo: str  # a data: URL
    name: str
    details: str
    caption: str
    agrees: str  # how far its category is the question's: leaf, root or none; query for the product in question
    grade: int | None = None  # that people gave it as a recommendation; None: not judged


def write_page(path: Path, template: Path, **values: object) -> None:
    """Fill a template and write the page. The template may extend and import the templates of this package."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, TEMPLATES]), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template(template.name).render(values)
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")


def caption(score: float, label: str) -> str:
    """Return the text below the photo of a similar product: its score, and a label if there is one."""
    return f"{score:.2f}, {label}" if label else f"{score:.2f}"


def data_url(jpeg: bytes) -> str:
    """Return a photo as a URL that a page can contain."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
