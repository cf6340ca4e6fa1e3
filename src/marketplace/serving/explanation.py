"""The reasons for a recommendation: the two photos that matched, both similarities, and the words in common."""

import re
from dataclasses import dataclass

import numpy as np

from marketplace.common.errors import UnavailableError
from marketplace.recommendation.products import Product, Products
from marketplace.recommendation.ranking import Search, most_similar_pair

_WORD = re.compile(r"[^\W_]{2,}")


@dataclass(frozen=True)
class Explanation:
    """Why two products are similar."""

    image_id: str  # the first product's photo in the most similar pair
    similar_image_id: str  # the other product's photo in that pair
    score: float  # (1 - words_weight) x photo_similarity + words_weight x text_similarity
    photo_similarity: float  # cosine of the pair's kind vectors
    text_similarity: float | None  # cosine of the text vectors; None if texts do not count
    words_weight: float
    words: tuple[str, ...]  # that occur in both titles or descriptions


def explain(
    products: Products, search: Search, words_weight: float, text_dimensions: int, number: int, other: int
) -> Explanation:
    """Explain the similarity of two products, given by their numbers.

    `search` searches vectors that `with_words` made with `words_weight`; their last `text_dimensions` values are a
    text vector. Raises UnavailableError if a database no longer has the vectors.
    """
    rows = products.photos_of(number)
    other_rows = products.photos_of(other)
    vectors = search.vectors_of(rows)
    other_vectors = search.vectors_of(other_rows)
    if not len(vectors) or not len(other_vectors):
        raise UnavailableError("the database no longer has the vectors of one of these products.")
    split = vectors.shape[1] - text_dimensions
    place, other_place, photo_part = most_similar_pair(vectors[:, :split], other_vectors[:, :split])
    text_part = float(vectors[0, split:] @ other_vectors[0, split:])
    return Explanation(
        image_id=str(products.image_ids[rows[place]]),
        similar_image_id=str(products.image_ids[other_rows[other_place]]),
        score=photo_part + text_part,
        photo_similarity=photo_part / (1 - words_weight) if words_weight < 1 else 0.0,
        text_similarity=text_part / words_weight if words_weight > 0 else None,
        words_weight=words_weight,
        words=common_words(products.product(number), products.product(other)),
    )


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

    words = _WORD.findall(f"{product.name} {product.description}".casefold())
    return [word for word in words if word not in ENGLISH_STOP_WORDS]
