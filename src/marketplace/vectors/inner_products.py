"""The similarities of a few vectors to the vectors of a whole catalogue, which are read in blocks."""

from collections.abc import Iterator

import numpy as np

from marketplace.common.files import release_pages
from marketplace.compute.scratch import blocks_of, compute_in_blocks
from marketplace.vectors.unit_length import to_unit_length

QUESTIONS_AT_ONCE = 512
SIMILARITIES_AT_ONCE = 2**26  # fewer questions at once about a large catalogue


def usable_unit_vectors(vectors: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Return vectors `(N, d)`, or some rows of them, of length 1 and mapped; values that are not finite become 0."""
    chosen = np.arange(len(vectors)) if rows is None else rows

    def unit_vectors(places: np.ndarray) -> np.ndarray:
        return np.nan_to_num(to_unit_length(vectors[chosen[places]]))

    return compute_in_blocks(unit_vectors, len(chosen), vectors)


def inner_products(questions: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return the inner products `(Q, N)` of questions `(Q, d)` and vectors `(N, d)`, which may be mapped."""
    products = np.empty((len(questions), len(vectors)), np.result_type(questions, vectors))
    for block in blocks_of(len(vectors)):
        np.matmul(questions, vectors[block].T, out=products[:, block])
        release_pages(vectors)
    return products


def cut_questions(n_questions: int, n_vectors: int) -> Iterator[slice]:
    """Cut questions into groups whose similarities to a catalogue of `n_vectors` fit into memory."""
    return blocks_of(n_questions, min(QUESTIONS_AT_ONCE, max(1, SIMILARITIES_AT_ONCE // max(1, n_vectors))))
