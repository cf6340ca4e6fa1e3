"""The reasons for a recommendation: the two photos that matched, each part's similarity, and the words in common."""

import re
from dataclasses import dataclass

import numpy as np

from marketplace.common.errors import UnavailableError
from marketplace.recommendation.products import Product, Products
from marketplace.recommendation.ranking import most_similar_pair
from marketplace.recommendation.similarity import Weights
from marketplace.serving.matching import VectorStore
from marketplace.texts.comparison import comparable

_WORD = re.compile(r"[^\W_]{2,}")


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
    words: tuple[str, ...]  # that occur in both titles or descriptions


def explain(
    products: Products,
    vectors: VectorStore,
    dimensions: dict[str, int],
    weights: Weights,
    number: int,
    other: int,
) -> Explanation:
    """Explain the similarity of two products, given by their numbers.

    `dimensions` has the length of each part of a product's vector. Raises UnavailableError if a database no longer has
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
    return Explanation(
        image_id=str(products.image_ids[rows[place]]),
        similar_image_id=str(products.image_ids[other_rows[other_place]]),
        score=sum(part.weight * part.similarity for part in parts.values() if part.similarity is not None),
        parts=parts,
        words=common_words(products.product(number), products.product(other)),
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


def common_words(product: Product, other: Product) -> tuple[str, ...]:
    """Return the words in both products' texts, in the first one's order, without stop words."""
    other_words = set(_words_of(other))
    return tuple(dict.fromkeys(word for word in _words_of(product) if word in other_words))


def _words_of(product: Product) -> list[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    words = _WORD.findall(comparable(f"{product.name} {product.description}").casefold())
    return [word for word in words if word not in ENGLISH_STOP_WORDS]
