"""The text model: from a product's words to a vector, by meaning and by spelling.

The vectors of the sentence model and of spelling are put side by side. The model is a folder that needs nothing of
this repository: sentence.onnx, tokenizer.json, spelling.npz for scikit-learn, and weights.json.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from marketplace.common.damage import how_to_heal
from marketplace.common.errors import MarketplaceError, first_line
from marketplace.common.files import replacing, write_json
from marketplace.compute.scratch import compute_in_blocks
from marketplace.texts.listing_text import plain_text
from marketplace.texts.sentence_files import NETWORK, TOKENIZER
from marketplace.texts.sentence_model import SentenceModel
from marketplace.texts.spelling import Spelling, fit_spelling
from marketplace.vectors.unit_length import to_unit_length

SPELLING = "spelling.npz"
WEIGHTS = "weights.json"


def fit_text_model(
    folder: Path, sentence_model: Path, texts: list[str], *, max_tokens: int, meaning_weight: float
) -> None:
    """Fit the spelling part to the texts of the training split, and write the whole model to a folder.

    The folder gets a copy of the sentence model, which reads the first `max_tokens` of a text. The similarity of two
    texts is `meaning_weight` times the similarity of their meaning, plus the rest times the similarity of their
    spelling.
    """
    with replacing(folder) as part:
        part.mkdir(parents=True)
        _copy_sentence_model(sentence_model, part, max_tokens)
        arrays: dict[str, Any] = fit_spelling([plain_text(text) for text in texts])
        np.savez(part / SPELLING, **arrays)
        write_json(part / WEIGHTS, {"meaning": meaning_weight})


def _copy_sentence_model(source: Path, folder: Path, max_tokens: int) -> None:
    """Copy a sentence model; the tokenizer of the copy cuts texts after `max_tokens`."""
    from tokenizers import Tokenizer

    shutil.copyfile(source / NETWORK, folder / NETWORK)
    tokenizer = Tokenizer.from_file(str(source / TOKENIZER))
    tokenizer.enable_truncation(max_tokens)
    tokenizer.save(str(folder / TOKENIZER), pretty=False)


class TextModel:
    """A text model that was written to a folder. Raises MarketplaceError if it is missing or damaged.

    With the folder's `sha256`, its network is compiled once for all processes.
    """

    def __init__(self, folder: Path, sha256: str | None = None) -> None:
        try:
            self._sentence = SentenceModel(folder / NETWORK, folder / TOKENIZER, sha256)
            with np.load(folder / SPELLING, allow_pickle=False) as arrays:
                self._spelling = Spelling(dict(arrays))
            self._meaning_weight: float = json.loads((folder / WEIGHTS).read_text(encoding="utf-8"))["meaning"]
        except Exception as error:  # three libraries raise all kinds for a missing or damaged file
            raise MarketplaceError(f"{folder} cannot be read ({first_line(error)}): {how_to_heal(folder)}.") from None

    def __call__(self, texts: list[str]) -> np.ndarray:
        """Return the vectors `(N, t) float32` of texts, of length 1; all zeros for a text without a word."""
        return self.embed_words(texts)[0]

    def embed_catalogue(self, texts: list[str]) -> np.ndarray:
        """Return the same for the texts of a catalogue, with the sentence vectors that are stored in the cache.

        Results do not depend on which vectors were stored.
        """
        plain = [plain_text(text) for text in texts]
        meaning = self._sentence.embed_catalogue(plain)

        def embed_block(rows: np.ndarray) -> np.ndarray:
            return self._combine(meaning[rows], self._spelling([plain[row] for row in rows.tolist()]))

        return compute_in_blocks(embed_block, len(plain), meaning)

    def embed_titles(self, titles: list[str]) -> np.ndarray:
        """Return the meanings `(N, m) float32` of the titles of a catalogue, stored like its texts."""
        return self._sentence.embed_catalogue([plain_text(title) for title in titles])

    def embed_words(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the vectors `(N, t)` of texts, see `__call__`, and their meanings `(N, m)`, both float32."""
        plain = [plain_text(text) for text in texts]
        meaning = self._sentence(plain)
        return self._combine(meaning, self._spelling(plain)), meaning

    def _combine(self, meaning: np.ndarray, spelling: np.ndarray) -> np.ndarray:
        weight = self._meaning_weight
        return to_unit_length(np.hstack([weight**0.5 * meaning, (1 - weight) ** 0.5 * spelling]))
