"""The parts of questions about a photo or about words, which are compared with the parts of products."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from marketplace.recommendation.similarity import Parts
from marketplace.texts.text_model import TextModel
from marketplace.vectors.tables import TextVectors

PATH_TEMPERATURE = 0.05  # of the titles whose category paths words let one expect


@dataclass(frozen=True)
class TextEmbedder:
    """Two ways to embed texts."""

    text: Callable[[list[str]], np.ndarray]  # (n, t), by meaning and spelling
    meaning: Callable[[list[str]], np.ndarray]  # (n, m)


def open_text_embedder(folder: Path, sha256: str | None = None) -> TextEmbedder:
    """Open the text model in a folder; see TextModel."""
    model = TextModel(folder, sha256)
    return TextEmbedder(text=model, meaning=model.embed_meanings)


def photo_questions(kind: np.ndarray, title: np.ndarray, path: np.ndarray, text_dimensions: int) -> Parts:
    """Return the parts of questions about photos: their kind, and the title and the path that they let one expect.

    The expected title is compared with the titles of products and with the meaning of their whole texts, which comes
    first in a text vector.
    """
    return Parts(kind=kind, text=_beginning_with(title, text_dimensions), title=title, path=path)


def words_questions(words: list[str], embed: TextEmbedder, texts: TextVectors, kind_dimensions: int) -> Parts:
    """Return the parts of questions in words. The expected path is the path of products with similar titles."""
    meanings = embed.meaning(words)
    logits = meanings @ texts.title.T / PATH_TEMPERATURE
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return Parts(
        kind=np.zeros((len(words), kind_dimensions), np.float32),
        text=embed.text(words),
        title=meanings,
        path=(weights / weights.sum(axis=1, keepdims=True) @ texts.path).astype(np.float32),
    )


def _beginning_with(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """Fill vectors `(n, m)` up with zeros to `(n, dimensions)`."""
    filled = np.zeros((len(vectors), dimensions), np.float32)
    filled[:, : vectors.shape[1]] = vectors
    return filled
