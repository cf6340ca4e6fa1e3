"""The answer to one question as an HTML page: products similar to a product, a photo or words."""

from collections.abc import Sequence
from pathlib import Path

from marketplace.recommendation.products import price_text, shared_label
from marketplace.reports.pages import Card, caption, data_url, write_page
from marketplace.serving.answers import SimilarProduct

TEMPLATE = Path(__file__).parent / "templates" / "similar.html"


def write_similar(
    path: Path,
    heading: str,
    details: str,
    query_photo: bytes | None,
    products: Sequence[SimilarProduct],
    photos: Sequence[bytes],
) -> None:
    """Write the page. `query_photo` and `photos`, one for each of the products, are JPEGs."""
    cards = [_card(similar, photo) for similar, photo in zip(products, photos, strict=True)]
    query_url = data_url(query_photo) if query_photo else None
    write_page(path, TEMPLATE, heading=heading, details=details, query=query_url, cards=cards)


def _card(similar: SimilarProduct, photo: bytes) -> Card:
    product = similar.product
    return Card(
        photo=data_url(photo),
        name=product.name,
        details=f"{price_text(product.price, product.currency)}, {product.location}",
        caption=caption(similar.score, shared_label(similar.same_photo, similar.same_text)),
        agrees="query",
    )
