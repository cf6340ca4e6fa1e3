"""The parts of questions about a photo or about words, which are compared with the parts of products."""

from collections.abc import Callable

import numpy as np

from marketplace.recommendation.ranking import INDEX_ABOVE
from marketplace.recommendation.similarity import Parts

EmbedWords = Callable[[list[str]], tuple[np.ndarray, np.ndarray]]  # see TextModel.embed_words
ExpectPath = Callable[[np.ndarray], np.ndarray]  # from the meaning of words `(m,)` to the path that they mean `(p,)`
PATH_TEMPERATURE = 0.05  # of the titles whose category paths words let one expect
NEAREST_TITLES = 1_000  # that say which path, in a catalogue of more than INDEX_ABOVE products


def photo_questions(kind: np.ndarray, title: np.ndarray, path: np.ndarray, text_dimensions: int) -> Parts:
    """Return the parts of questions about photos: their kind, and the title and the path that they let one expect.

    The expected title is compared with the titles of products and with the meaning of their whole texts, which comes
    first in a text vector.
    """
    return Parts(kind=kind, text=_beginning_with(title, text_dimensions), title=title, path=path)


def words_questions(words: list[str], embed: EmbedWords, expected_path_of: ExpectPath, kind_dimensions: int) -> Parts:
    """Return the parts of questions in words. The expected path is the path of products with similar titles."""
    text, meanings = embed(words)
    return Parts(
        kind=np.zeros((len(words), kind_dimensions), np.float32),
        text=text,
        title=meanings,
        path=np.stack([expected_path_of(meaning) for meaning in meanings]),
    )


def n_titles(n_products: int) -> int:
    """Return how many titles say which path words let one expect: all of a small catalogue, or the most similar."""
    return n_products if n_products <= INDEX_ABOVE else NEAREST_TITLES


def mean_path(similarities: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """Return the mean `(p,)` of the paths `(n, p)` of products, weighted by their titles' similarities `(n,)`."""
    logits = similarities / PATH_TEMPERATURE
    weights = np.exp(logits - logits.max())
    return (weights / weights.sum() @ paths).astype(np.float32)


def expect_path(meaning: np.ndarray, titles: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """Return the path `(p,)` that words with a meaning `(m,)` let one expect.

    `titles` `(P, m)` and `paths` `(P, p)` belong to all products.
    """
    similarities = titles @ meaning
    n_counted = n_titles(len(titles))
    if n_counted == len(titles):
        return mean_path(similarities, paths)
    nearest = np.argpartition(-similarities, n_counted)[:n_counted]
    return mean_path(similarities[nearest], paths[nearest])


def _beginning_with(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """Fill vectors `(n, m)` up with zeros to `(n, dimensions)`."""
    filled = np.zeros((len(vectors), dimensions), np.float32)
    filled[:, : vectors.shape[1]] = vectors
    return filled
