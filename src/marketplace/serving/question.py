"""A question: products and a photo to be like, products not to be like, and words, in any combination."""

from dataclasses import dataclass

from marketplace.recommendation.filters import Filters
from marketplace.recommendation.similarity import Weights
from marketplace.serving.answers import InvalidQuestionError

MAX_EXAMPLES = 20  # products that a question may name
NO_FILTERS = Filters()


@dataclass(frozen=True)
class Crop:
    """A part of a photo: its edges as shares of the width and height, from the photo's left and top."""

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if not (0 <= self.left < self.right <= 1 and 0 <= self.top < self.bottom <= 1):
            raise InvalidQuestionError(
                f"the crop {self.format()} is not within the photo: write left,top,right,bottom as shares from 0 to 1, "
                "such as 0.25,0,0.75,0.5."
            )

    def format(self) -> str:
        """Return the crop as `parse_crop` reads it."""
        return ",".join(f"{edge:g}" for edge in (self.left, self.top, self.right, self.bottom))


def parse_crop(text: str) -> Crop:
    """Parse a crop such as "0.25,0,0.75,0.5". Raises InvalidQuestionError."""
    try:
        left, top, right, bottom = (float(edge) for edge in text.split(","))
    except ValueError:
        raise InvalidQuestionError(
            f"{text!r} is not a crop: write left,top,right,bottom as shares from 0 to 1, such as 0.25,0,0.75,0.5."
        ) from None
    return Crop(left=left, top=top, right=right, bottom=bottom)


@dataclass(frozen=True)
class Photo:
    """A photo, as the bytes of a file: turned clockwise by some degrees, then cropped."""

    content: bytes
    turn: int = 0  # 0, 90, 180 or 270; a photo with an EXIF orientation is upright before
    crop: Crop | None = None

    @property
    def whole(self) -> bool:
        """Whether all of it is asked about, as it is."""
        return self.crop is None and not self.turn


@dataclass(frozen=True)
class Question:
    """A question for similar products.

    Words with a minus, such as "red -leather", are words that no product in the answer has.
    """

    like: tuple[str, ...] = ()  # ids of products, each once: repeated ones are dropped
    unlike: tuple[str, ...] = ()  # likewise
    photo: Photo | None = None
    words: str = ""
    k: int = 10
    filters: Filters = NO_FILTERS
    weights: Weights | None = None  # None: by params.yaml, for this kind of question
    diversity: float | None = None  # None: by params.yaml
    least_score: float | None = None  # leave out products with a lower score

    def __post_init__(self) -> None:
        object.__setattr__(self, "like", tuple(dict.fromkeys(self.like)))
        object.__setattr__(self, "unlike", tuple(dict.fromkeys(self.unlike)))
        both = set(self.like) & set(self.unlike)
        if both:
            raise InvalidQuestionError(f"the product {min(both)!r} cannot be liked and not liked at once.")
        if len(self.like) + len(self.unlike) > MAX_EXAMPLES:
            raise InvalidQuestionError(f"a question may name at most {MAX_EXAMPLES} products.")

    @property
    def has_examples(self) -> bool:
        """Whether it shows things to be like."""
        return bool(self.like) or self.photo is not None
