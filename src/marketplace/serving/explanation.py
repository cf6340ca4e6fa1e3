"""The reasons for a recommendation: the two photos that matched, each part's similarity, and the words in common."""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from marketplace.common.errors import UnavailableError
from marketplace.recommendation.products import SEPARATOR, Product, Products
from marketplace.recommendation.ranking import most_similar_pair
from marketplace.recommendation.similarity import Weights
from marketplace.serving.matching import VectorStore
from marketplace.texts.comparison import comparable

COMMON = 0.1  # of all listings: a word that so large a share has explains nothing
ALIKE = 0.6  # inner product of two parts from which on it is worth a word
MAX_NAMED = 2  # words that a sentence names
OFF_CENTRE = 0.42  # of a photo's side: heat with its centre before it is at the side, not in the middle
_WORD = re.compile(r"[^\W_]{2,}")
FrequencyOf = Callable[[str], float]


@dataclass(frozen=True)
class PartSimilarity:
    """What one part adds to the similarity of two products."""

    similarity: float | None  # inner product; None if one of the products lacks this part
    weight: float  # of all parts together: 1


@dataclass(frozen=True)
class Explanation:
    """Why two products are similar."""

    image_id: str  # the first product's photo in the most similar pair
    similar_image_id: str  # the other product's photo in that pair
    score: float  # the sum of weight x similarity over the parts
    parts: dict[str, PartSimilarity]  # kind, text, title and path
    words: tuple[str, ...]  # that occur in both titles or descriptions, the rarest first
    summary: str  # the reasons in a sentence


def explain(
    products: Products,
    vectors: VectorStore,
    dimensions: dict[str, int],
    weights: Weights,
    number: int,
    other: int,
    frequency_of: FrequencyOf,
) -> Explanation:
    """Explain the similarity of two products, given by their numbers.

    `dimensions` has the length of each part of a product's vector. `frequency_of` returns the share of listings with a
    word. Raises UnavailableError if a database no longer has
    the vectors.
    """
    rows = products.photos_of(number)
    other_rows = products.photos_of(other)
    kinds = vectors.kinds_of(rows)
    other_kinds = vectors.kinds_of(other_rows)
    pair = vectors.similar.vectors_of(np.array([number, other]))
    if not len(kinds) or not len(other_kinds) or len(pair) < 2:
        raise UnavailableError("the database no longer has the vectors of one of these products.")
    place, other_place, _ = most_similar_pair(kinds, other_kinds)
    parts = _compare_parts(pair[0], pair[1], dimensions, weights)
    words = common_words(products.product(number), products.product(other), frequency_of)
    return Explanation(
        image_id=str(products.image_ids[rows[place]]),
        similar_image_id=str(products.image_ids[other_rows[other_place]]),
        score=sum(part.weight * part.similarity for part in parts.values() if part.similarity is not None),
        parts=parts,
        words=words,
        summary=summarise(products, number, other, parts, words),
    )


def _compare_parts(
    vector: np.ndarray, other: np.ndarray, dimensions: dict[str, int], weights: Weights
) -> dict[str, PartSimilarity]:
    ends = np.cumsum(list(dimensions.values()))[:-1]
    shares = weights.normalised().model_dump()
    parts = {}
    for name, own_part, other_part in zip(dimensions, np.split(vector, ends), np.split(other, ends), strict=True):
        similarity = float(own_part @ other_part) if own_part.any() and other_part.any() else None
        parts[name] = PartSimilarity(similarity=similarity, weight=shares[name])
    return parts


def compute_heat(kind_maps: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Return the share of each position of two photos in their similarity: `(2, H, W) float32`, from 0 to 1.

    `kind_maps` `(2, H, W, l)` is the contribution of each position to the first l values of the kind vectors `kinds`
    `(2, k)`. The inner product of these values is the mean of the shares over the positions, before they are cut off at
    0 and divided by their maximum (Stylianou et al., 2019, arXiv:1901.00536, with the projection included).
    """
    partners = kinds[::-1, : kind_maps.shape[3]]
    shares = np.einsum("nhwl,nl->nhw", kind_maps, partners).clip(min=0)
    return shares / max(float(shares.max()), 1e-12)


def common_words(product: Product, other: Product, frequency_of: FrequencyOf) -> tuple[str, ...]:
    """Return the words in both products' texts, the rarest first, without those that many listings have."""
    other_words = set(_words_of(other))
    shared = dict.fromkeys(word for word in _words_of(product) if word in other_words)
    frequencies = {word: frequency_of(word) for word in shared}
    return tuple(sorted((word for word in shared if frequencies[word] < COMMON), key=lambda word: frequencies[word]))


def summarise(
    products: Products, number: int, other: int, parts: dict[str, PartSimilarity], words: tuple[str, ...]
) -> str:
    """Return in a sentence why two products are similar, the most telling reason first."""
    reasons = []
    category = _common_category(products, number, other)
    if category:
        reasons.append(f"both are in {category}")
    in_titles = set(_split(products.product(number).name)) & set(_split(products.product(other).name))
    named = [word for word in words if word in in_titles][:MAX_NAMED] or list(words[:1])
    if named:
        reasons.append("both say " + " and ".join(f"'{word}'" for word in named))
    looks = parts["kind"].similarity
    if looks is not None and looks >= ALIKE:
        reasons.append("their photos look alike")
    meaning = parts["title"].similarity
    if meaning is not None and meaning >= ALIKE and not named:
        reasons.append("their titles mean nearly the same")
    text = "; ".join(reasons) or "no single reason stands out: they are the nearest in the catalogue"
    return f"{text[0].upper()}{text[1:]}."


def _common_category(products: Products, number: int, other: int) -> str:
    """Return the deepest category that two products share and that says something alone; nothing if there is none."""
    paths = [products.product(one).category.split(SEPARATOR) for one in (number, other)]
    shared = [level for level, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(*paths, strict=False))]
    telling = [level for level in shared if level not in products.repeated_levels]
    return telling[-1] if telling else ""


def place_in_photo(heat: np.ndarray) -> str:
    """Return in words where the centre of a photo's heat `(H, W)` is.

    >>> place_in_photo(np.array([[0, 0, 0], [0, 0, 0], [1, 0, 0]])), place_in_photo(np.ones((3, 3)))
    ('at the bottom left', 'in the middle')
    """
    height, width = heat.shape
    total = max(float(heat.sum()), 1e-12)
    row = float(heat.sum(axis=1) @ (np.arange(height) + 0.5)) / total / height
    column = float(heat.sum(axis=0) @ (np.arange(width) + 0.5)) / total / width
    names = [_third(row, "top", "bottom"), _third(column, "left", "right")]
    place = " ".join(name for name in names if name)
    return f"at the {place}" if place else "in the middle"


def _third(share: float, first: str, last: str) -> str:
    """Return the name of the first or last of three parts if a share from 0 to 1 is in it."""
    if share < OFF_CENTRE:
        return first
    return last if share > 1 - OFF_CENTRE else ""


def _words_of(product: Product) -> list[str]:
    return _split(f"{product.name} {product.description}")


def _split(text: str) -> list[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return [word for word in _WORD.findall(comparable(text).casefold()) if word not in ENGLISH_STOP_WORDS]
