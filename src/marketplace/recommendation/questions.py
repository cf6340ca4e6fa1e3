"""The parts of questions about a photo or about words, which are compared with the parts of products."""

from collections.abc import Callable

import numpy as np

from marketplace.recommendation.similarity import Parts
from marketplace.vectors.tables import TextVectors

EmbedWords = Callable[[list[str]], tuple[np.ndarray, np.ndarray]]  # see TextModel.embed_words
PATH_TEMPERATURE = 0.05  # of the titles whose category paths words let one expect


def photo_questions(kind: np.ndarray, title: np.ndarray, path: np.ndarray, text_dimensions: int) -> Parts:
    """Return the parts of questions about photos: their kind, and the title and the path that they let one expect.

    The expected title is compared with the titles of products and with the meaning of their whole texts, which comes
    first in a text vector.
    """
    return Parts(kind=kind, text=_beginning_with(title, text_dimensions), title=title, path=path)


def words_questions(words: list[str], embed: EmbedWords, texts: TextVectors, kind_dimensions: int) -> Parts:
    """Return the parts of questions in words. The expected path is the path of products with similar titles."""
    text, meanings = embed(words)
    logits = meanings @ texts.title.T / PATH_TEMPERATURE
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return Parts(
        kind=np.zeros((len(words), kind_dimensions), np.float32),
        text=text,
        title=meanings,
        path=(weights / weights.sum(axis=1, keepdims=True) @ texts.path).astype(np.float32),
    )


def _beginning_with(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """Fill vectors `(n, m)` up with zeros to `(n, dimensions)`."""
    filled = np.zeros((len(vectors), dimensions), np.float32)
    filled[:, : vectors.shape[1]] = vectors
    return filled
