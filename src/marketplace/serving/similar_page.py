"""The answer to one question as a page: what is similar to a product or a photo."""

from collections.abc import Sequence
from pathlib import Path

from marketplace.recommendation.products import price_text
from marketplace.reports.pages import Card, caption, data_url, write_page
from marketplace.serving.answers import SimilarProduct

TEMPLATE = Path(__file__).parent / "templates" / "similar.html"


def write_similar(
    path: Path, heading: str, details: str, query: bytes | None, found: Sequence[tuple[bytes, SimilarProduct]]
) -> None:
    """Write a page with the answer to one question; photos are JPEGs, and `query` is the one asked about, if any."""
    cards = [
        Card(
            photo=data_url(photo),
            name=similar.product.name,
            details=f"{price_text(similar.product.price, similar.product.currency)}, {similar.product.location}",
            caption=caption(similar.score, similar.same_photo, similar.same_text),
            agrees="query",
        )
        for photo, similar in found
    ]
    write_page(path, TEMPLATE, heading=heading, details=details, query=data_url(query) if query else None, cards=cards)
