"""The sentence model: from a text to the vector of its meaning, by OpenVINO."""

import functools
import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from marketplace.cluster.connection import uses_cluster
from marketplace.cluster.placement import store_on_workers
from marketplace.common.damage import how_to_heal
from marketplace.common.errors import MarketplaceError, first_line
from marketplace.common.files import sha256_of
from marketplace.common.progress import progress_bar
from marketplace.compute.packs import PACK, Lookup, Packs, cut, keys_of_files
from marketplace.compute.processor import processor
from marketplace.compute.recipe import recipe
from marketplace.compute.scratch import take_rows
from marketplace.inference.compiled import compile_model
from marketplace.texts.sentence_files import NETWORK, TOKENIZER

log = logging.getLogger(__name__)

TEXT_BATCH = 32  # texts
LENGTH_STEP = 8  # tokens


def open_sentence_model(folder: Path, *, max_tokens: int) -> "SentenceModel":
    """Open the sentence model in a folder. Raises MarketplaceError if it is missing or damaged."""
    network = folder / NETWORK
    try:
        return SentenceModel(network, folder / TOKENIZER, sha256_of(network), max_tokens=max_tokens)
    except Exception as error:  # two libraries raise all kinds for a missing or damaged file
        raise MarketplaceError(f"{folder} cannot be read ({first_line(error)}): {how_to_heal(folder)}.") from None


class SentenceModel:
    """The sentence model in two files; with the `sha256` of its network, compiled once for all processes.

    It reads the first tokens of a text: `max_tokens`, or as many as the tokenizer's file says. A model can be sent to
    another process, which opens the files itself.
    """

    def __init__(
        self, network: Path, tokenizer: Path, sha256: str | None = None, *, max_tokens: int | None = None
    ) -> None:
        from tokenizers import Tokenizer

        self._open_again = functools.partial(SentenceModel, network, tokenizer, sha256, max_tokens=max_tokens)
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._padding: int = (self._tokenizer.padding or {})["pad_id"]
        self._tokenizer.no_padding()  # texts are filled up here, to lengths that do not depend on others
        if max_tokens is not None:
            self._tokenizer.enable_truncation(max_tokens)
        self._made_with = {
            "network": sha256_of(network),
            "tokenizer": hashlib.sha256(self._tokenizer.to_str().encode()).hexdigest(),
        }
        self._network = compile_model(network, sha256)
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Callable[[], "SentenceModel"], tuple[()]]:
        return self._open_again, ()

    @property
    def dimensions(self) -> int:
        """The values of a vector."""
        return int(self._network.output(0).partial_shape[1].get_length())

    def __call__(self, texts: list[str]) -> np.ndarray:
        """Return the vectors `(N, D) float32` of texts, one by one; all zeros for a text without a word."""
        vectors = self._zeros(len(texts))
        for row, ids in enumerate(self._tokenize(texts)):
            if texts[row]:
                vectors[row] = self._run(np.array([ids]))[0]
        return vectors

    def embed_catalogue(self, texts: list[str]) -> np.ndarray:
        """Return the vectors of the texts of a catalogue, which are stored, and found again by the text.

        Results do not depend on which vectors were stored, nor on whether a cluster's workers compute them. They are
        nearly equal to the results of `__call__`: processors for arithmetic of 8 bits also round between the layers,
        and in another way for a batch.
        """
        distinct = sorted(set(texts), key=lambda text: (len(text), text))

        def compute(rows: np.ndarray) -> Iterable[np.ndarray]:
            vectors = self.embed_in_fixed_shapes([distinct[row] for row in rows])
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
        if uses_cluster() and lookup.missing.any():
            lookup = _embed_on_workers(_PackWriter(self, packs, lookup.keys, distinct), lookup)
        vectors = packs.fill(lookup, compute)
        row_of = {text: row for row, text in enumerate(distinct)}
        return take_rows(vectors, np.array([row_of[text] for text in texts], dtype=np.int64))

    def embed_in_fixed_shapes(self, texts: list[str]) -> Iterator[np.ndarray]:
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
                    vectors[batch] = self._run(self._pad([ids[row] for row in whole], length))[: len(batch)]
            yield from vectors

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]

    def _zeros(self, n_texts: int) -> np.ndarray:
        return np.zeros((n_texts, self.dimensions), np.float32)

    def _run(self, ids: np.ndarray) -> np.ndarray:
        with self._lock:  # OpenVINO refuses a request while another one runs
            return self._network(ids)[0]

    def _pad(self, ids: list[list[int]], length: int) -> np.ndarray:
        """Return token ids `(N, length)`, filled up."""
        return np.array([[*tokens, *[self._padding] * (length - len(tokens))] for tokens in ids])


@dataclass(frozen=True)
class _PackWriter:
    """Embeds some texts and stores their vectors as a pack."""

    model: SentenceModel
    packs: Packs
    keys: np.ndarray  # of all texts
    texts: list[str]

    def __call__(self, rows: np.ndarray) -> bool:
        """Return whether the vectors could be stored."""
        vectors = self.model.embed_in_fixed_shapes([self.texts[row] for row in rows.tolist()])
        return self.packs.write(self.keys[rows], np.stack(list(vectors)))


def _embed_on_workers(write_pack: _PackWriter, lookup: Lookup) -> Lookup:
    """Have a cluster's workers store the missing vectors; return where they are then.

    Some may still be missing if there is no room for them, or a worker could not store its own.
    """
    missing = np.flatnonzero(lookup.missing)
    nbytes = len(missing) * write_pack.model.dimensions * np.dtype(np.float32).itemsize
    if not write_pack.packs.make_room(nbytes, lookup.keys):
        return lookup
    with progress_bar(total=len(missing), description="embedding texts", unit="text") as progress:
        store_on_workers(write_pack, cut(missing, PACK), progress)
    return write_pack.packs.find(lookup.keys)
