"""Answers to questions about products and photos, and why there is none."""

from dataclasses import dataclass
from typing import Literal

from marketplace.common.errors import MarketplaceError, UnavailableError
from marketplace.recommendation.products import Product

Order = Literal["relevance", "cheapest", "dearest"]


@dataclass(frozen=True)
class SimilarProduct:
    """A product and how similar it is."""

    rank: int
    score: float  # of a product: photos and words; of a photo: the cosine of the most similar photo; of words: theirs
    same_photo: bool  # it shows the very photo that was asked about
    same_text: bool  # it has the very title that was asked about
    close: bool | None  # a close match, by what is known of scores; None: nothing is known
    image_id: str  # its photo that is most similar
    product: Product


@dataclass(frozen=True)
class Heat:
    """Where two photos are alike: for each cell of a grid over a photo's square, row by row, its share from 0 to 1."""

    image: list[list[float]]  # over the first product's photo
    similar_image: list[list[float]]  # over the photo that it is most similar to


@dataclass(frozen=True)
class Place:
    """A product's place on the map of the catalogue."""

    product_id: str
    name: str
    category: str  # the root category
    image_id: str
    x: float
    y: float


class BusyError(UnavailableError):
    """Too many questions about photos are waiting."""


class UnknownProductError(MarketplaceError):
    """There is no product with that id; `nearest` are ids that look like it."""

    def __init__(self, product_id: str, nearest: list[str]) -> None:
        super().__init__(f"no product has the id {product_id!r}.{nearest_ids(nearest)}")
        self.nearest = nearest


def nearest_ids(ids: list[str]) -> str:
    """A sentence that names ids; empty without any."""
    return f" The nearest ids: {', '.join(ids)}." if ids else ""
