"""HTML pages in one file each, photos included, that need nothing else."""

import base64
from dataclasses import dataclass
from pathlib import Path

import jinja2

from marketplace.common.files import replacing

TEMPLATES = Path(__file__).parent / "templates"
THUMBNAIL = 120  # pixels a side; shown at about half of that on a phone


@dataclass(frozen=True)
class Card:
    """A product in a row of a page."""

    photo: str  # a data: URL
    name: str
    details: str
    caption: str
    agrees: str  # with the product that was asked about: leaf, root, none or (the product itself) query


def write_page(path: Path, template: Path, **values: object) -> None:
    """Fill a template and write the page. A template may extend and import those of this package."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, TEMPLATES]), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template(template.name).render(values)
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")


def caption(score: float, same_photo: bool, same_text: bool) -> str:
    """The text below a similar product's photo."""
    shared = ", same photo" if same_photo else ", same title" if same_text else ""
    return f"{score:.2f}{shared}"


def data_url(jpeg: bytes) -> str:
    """A photo as a URL that a page can contain."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
