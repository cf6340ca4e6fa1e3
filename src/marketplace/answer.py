"""The answer to one question as a page: what is similar to a product or a photo."""

from collections.abc import Sequence
from pathlib import Path

from marketplace.gallery import Card, caption, data_url, write_page
from marketplace.search import SimilarProduct


def write_similar(
    path: Path, heading: str, details: str, query: bytes, found: Sequence[tuple[bytes, SimilarProduct]]
) -> None:
    """Write a page that shows the answer to one question; photos are JPEGs, that of the question is `query`."""
    cards = [
        Card(
            data_url(photo), similar.product.name, f"£{similar.product.price:,}, {similar.product.location}",
            caption(similar.score, similar.same_photo), "query",
        )
        for photo, similar in found
    ]  # fmt: skip
    write_page(path, "similar.html", heading=heading, details=details, query=data_url(query), cards=cards)
