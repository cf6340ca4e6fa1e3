"""Why a product is recommended for another: the two photos that matched, both similarities, and the words in common."""

import re
from dataclasses import dataclass

import numpy as np

from marketplace.common.errors import UnavailableError
from marketplace.recommendation.products import Product, Products
from marketplace.recommendation.ranking import Search, most_similar_pair

_WORD = re.compile(r"[^\W_]{2,}")


@dataclass(frozen=True)
class Explanation:
    """What makes two products similar."""

    image_id: str  # of the first product's photo
    similar_image_id: str  # … and of the second one's: together the most similar pair
    score: float  # (1 - weight) of the photos' similarity plus weight of the texts'
    photo_similarity: float  # cosine, of that pair
    text_similarity: float | None  # cosine; None if texts do not count
    words_weight: float
    words: tuple[str, ...]  # in both titles and descriptions


def explain(products: Products, search: Search, words: float, n_text: int, pair: tuple[int, int]) -> Explanation:
    """Explain the similarity of two products, given by their numbers.

    `search` is over the vectors of `with_words`, made with the weight `words`; their last `n_text` values are a text's.

    Raises UnavailableError if a database no longer has the vectors.
    """
    one, other = (products.photos_of(number) for number in pair)
    ours, theirs = search.vectors_of(one), search.vectors_of(other)
    if not len(ours) or not len(theirs):
        raise UnavailableError("the vectors of one of these products are no longer there.")
    split = ours.shape[1] - n_text
    first, second, of_photos = most_similar_pair(ours[:, :split], theirs[:, :split])
    of_texts = float(ours[0, split:] @ theirs[0, split:])
    return Explanation(
        image_id=str(products.image_ids[one[first]]),
        similar_image_id=str(products.image_ids[other[second]]),
        score=of_photos + of_texts,
        photo_similarity=of_photos / (1 - words) if words < 1 else 0.0,
        text_similarity=of_texts / words if words > 0 else None,
        words_weight=words,
        words=common_words(*(products.product(number) for number in pair)),
    )


def heat(maps: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Where two photos are alike: for each position of both, its share in their similarity, `(2, H, W)` from 0 to 1.

    `maps` `(2, H, W, l)` are what each position adds to the first l values of the kind vectors `kinds` `(2, k)`. Their
    inner product is the mean over positions of what is returned, before it is cut at 0 and scaled to a largest value of
    1 (Stylianou et al., 2019, arXiv:1901.00536, with the projection as part of the sum).
    """
    others = kinds[::-1, : maps.shape[3]]
    shares: np.ndarray = np.einsum("nhwl,nl->nhw", maps, others).clip(min=0)
    shares /= max(float(shares.max()), 1e-12)
    return shares


def common_words(one: Product, other: Product) -> tuple[str, ...]:
    """The words that both texts contain, in the order of the first one's; those that say nothing are left out."""
    theirs = set(_words(other))
    return tuple(dict.fromkeys(word for word in _words(one) if word in theirs))


def _words(product: Product) -> list[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    found = _WORD.findall(f"{product.name} {product.description}".casefold())
    return [word for word in found if word not in ENGLISH_STOP_WORDS]
