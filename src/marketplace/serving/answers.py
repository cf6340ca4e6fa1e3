"""Answers to questions about products and photos, and the errors in place of one."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from marketplace.common.errors import MarketplaceError, UnavailableError
from marketplace.recommendation.products import Product

Order = Literal["relevance", "cheapest", "dearest"]


@dataclass(frozen=True)
class SimilarProduct:
    """A product and its similarity to the question."""

    rank: int
    score: float  # see Answer
    same_photo: bool  # it shares a photo with the question
    same_text: bool  # it shares its title with the question
    probability: float | None  # that a shopper calls it good; None: unknown
    close: bool | None  # whether that is likely, or it shares a photo or title; None: unknown
    image_id: str  # its most similar photo
    product: Product


@dataclass(frozen=True)
class VisibleCategory:
    """A root category that a photo may show."""

    category: str
    probability: float


@dataclass(frozen=True)
class Answer:
    """The answer to a question.

    The scores in `same` are cosines of identity vectors: these listings show the item in the photo. The scores in
    `similar` are weighted sums of similarities. Both lists fall; `similar` may not where it is to be diverse.
    """

    visible: list[VisibleCategory]  # in the photo, the most probable first; none without a photo
    same: list[SimilarProduct]  # often empty
    similar: list[SimilarProduct]
    corrected: str | None  # the words as the catalogue spells them, if no listing has them as they are


@dataclass(frozen=True)
class Heat:
    """The regions that two photos share: for each cell of a grid over a photo's square, row by row, from 0 to 1."""

    image: list[list[float]]  # the first product's photo
    similar_image: list[list[float]]  # the other product's photo
    place: str  # where in the other product's photo, such as "at the top left"


@dataclass(frozen=True)
class Place:
    """A product's place on the map of the catalogue."""

    product_id: str
    name: str
    category: str  # the root category
    price: Decimal | None  # None: no price
    currency: str  # a sign, such as £, or a code
    location: str
    image_id: str
    x: float
    y: float


@dataclass(frozen=True)
class MapLabel:
    """The name of a group of similar products that are near each other on the map."""

    text: str
    category: str  # the root category of its products
    x: float
    y: float


@dataclass(frozen=True)
class MapLegend:
    """The categories and groups on the map, whatever its filters: so a category keeps its colour."""

    categories: list[str]  # the root categories, the largest first
    labels: list[MapLabel]  # the largest group first


class BusyError(UnavailableError):
    """A question cannot be answered yet; the text is for whoever asked."""


class InvalidQuestionError(MarketplaceError):
    """The question itself is at fault; the text is for whoever asked."""


class UnknownProductError(InvalidQuestionError):
    """No product has that id; `nearest` are similar ids."""

    def __init__(self, product_id: str, nearest: list[str]) -> None:
        super().__init__(f"no product has the id {product_id!r}.{format_suggestions(nearest)}")
        self.nearest = nearest


def format_suggestions(ids: list[str]) -> str:
    """Return a sentence that suggests ids; nothing for no ids.

    >>> format_suggestions(["a1", "a2"]), format_suggestions([])
    (' Did you mean a1, a2?', '')
    """
    return f" Did you mean {', '.join(ids)}?" if ids else ""
