"""The FAISS index over the vectors of products or photos, exact or approximate, built from a factory string.

An index also returns the vectors in it, exactly or as closely as its kind stores them: nothing else has to hold them.
"""

import math
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import release_pages, replacing

ROWS_AT_ONCE = 2**14
TRAINING_ROWS_PER_LIST = 48  # of an inverted file: FAISS warns below 39
LEAST_TRAINING_ROWS = 2**16  # for the ranges of 8-bit values and for product quantisers


class Rows(Protocol):
    """Vectors `(N, d) float32` that need not all be in memory: only some rows are asked for at a time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """`(N, d)`."""

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray:
        """The vectors `(n, d)` of some rows."""


def build_index(vectors: Rows, factory: str, search: str | None = None) -> Any:
    """Build a FAISS index over unit-length vectors `(N, d) float32`; a number in it is a row of `vectors`.

    `factory` is FAISS's description of an index (https://github.com/facebookresearch/faiss/wiki/The-index-factory).
    `search` holds its search parameters, such as `nprobe=32`, which are stored with the index.
    Raises MarketplaceError if FAISS rejects one of them, or needs more vectors to train the index, or if the index
    cannot be filtered or cannot return its vectors.
    """
    n, dimensions = vectors.shape
    try:
        index = faiss.index_factory(dimensions, factory, faiss.METRIC_INNER_PRODUCT)
        if search:
            faiss.ParameterSpace().set_index_parameters(index, search)
        if not index.is_trained:
            index.train(vectors[_choose_training_rows(n, index)])
        for start in range(0, n, ROWS_AT_ONCE):
            index.add(vectors[np.arange(start, min(n, start + ROWS_AT_ONCE))])
        _let_find_by_number(index)
    except RuntimeError as error:
        raise MarketplaceError(
            f"recommend.index = {factory!r} with recommend.index_search = {search!r} does not work for {n} vectors of "
            f"{dimensions} values: {_reason(error)}"
        ) from None
    _check_filters(index, vectors[np.arange(1)], factory)
    _check_vectors(index, factory)
    return index


def _choose_training_rows(n: int, index: Any) -> np.ndarray:
    """Return the rows that an index is trained with: all, or as many of them as the k-means of its lists needs."""
    inverted_file = faiss.try_extract_index_ivf(index)
    n_lists = inverted_file.nlist if inverted_file is not None else 0
    most = max(LEAST_TRAINING_ROWS, TRAINING_ROWS_PER_LIST * n_lists)
    return np.sort(np.random.default_rng(0).permutation(n)[:most])


def _let_find_by_number(index: Any) -> None:
    """Let an inverted file find a vector by its number, which takes 8 bytes for each; other kinds need nothing."""
    inverted_file = faiss.try_extract_index_ivf(index)
    if inverted_file is not None:
        inverted_file.make_direct_map()


def _check_vectors(index: Any, factory: str) -> None:
    """Ask an index for its first vector."""
    try:
        index.reconstruct(0)
    except RuntimeError as error:
        raise MarketplaceError(
            f"recommend.index = {factory!r} cannot return the vectors in it ({_reason(error)}), and questions need "
            "them: choose an index such as Flat, HNSW32 or IVF4096,SQ8."
        ) from None


def _check_filters(index: Any, first: np.ndarray, factory: str) -> None:
    """Ask an index once about some rows only. Only its kind decides whether it can; FAISS has no list of them.

    `first` `(1, d)` is the vector of its first row.
    """
    every_other = np.arange(index.ntotal) % 2 == 1  # without row 0, the nearest to its own vector
    try:
        _, rows = nearest_among(index, first, every_other, k=1)
    except RuntimeError as error:
        reason = _reason(error)
    else:
        if every_other[rows[rows >= 0]].all():
            return
        reason = "it returns rows that do not pass"
    raise MarketplaceError(
        f"recommend.index = {factory!r} cannot be filtered ({reason}), and questions have filters: choose an index "
        "such as Flat, HNSW32 or IVF4096,SQ8."
    )


def _reason(error: RuntimeError) -> str:
    """Return the last line of an error of FAISS: the first ones are C++."""
    return str(error).strip().splitlines()[-1]


def write_index(path: Path, vectors: Rows, factory: str, search: str | None = None) -> None:
    """Build an index (see build_index) and write it. The same vectors give the same bytes."""
    faiss.omp_set_num_threads(1)  # with more threads, the links of an HNSW graph differ from run to run
    index = build_index(vectors, factory, search)
    with replacing(path) as part:
        faiss.write_index(index, str(part))


def read_index(path: Path) -> Any:
    """Open an index, whose vectors stay in the mapped file.

    Each search uses one thread, since the server answers several questions at a time.
    """
    faiss.omp_set_num_threads(1)
    content = np.memmap(path, np.uint8, mode="r")
    index = faiss.read_index(faiss.ZeroCopyIOReader(faiss.swig_ptr(content), content.size), faiss.IO_FLAG_MMAP_IFC)
    index.referenced_objects = [content]  # FAISS keeps them as long as the index
    return index


def release_index(index: Any) -> None:
    """Give back the memory of the pages of an index's file that were read."""
    for content in index.referenced_objects:
        release_pages(content)


def nearest_among(index: Any, vectors: np.ndarray, among: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (similarities, rows), `(Q, k)` each: the rows nearest to `vectors` `(Q, d)`, most similar first.

    Only rows for which `among` `(N,) bool` is true are searched. An inverted file searches more lists the fewer they
    are. If an approximate index returns fewer than k, the remaining rows are -1.
    """
    bitmap = np.packbits(among, bitorder="little")
    selector = faiss.IDSelectorBitmap(bitmap)
    share = among.mean()
    scores, rows = index.search(vectors, k, params=_parameters(index, selector, share))
    return scores, rows


def _parameters(index: Any, selector: Any, share: float) -> Any:
    """Return FAISS's search parameters for this kind of index, restricted to a selector's `share` of the rows."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return faiss.SearchParametersPreTransform(index_params=_parameters(index.index, selector, share))
    if isinstance(index, faiss.IndexRefine):
        base = _parameters(index.base_index, selector, share)
        return faiss.IndexRefineSearchParameters(k_factor=index.k_factor, base_index_params=base)
    if isinstance(index, faiss.IndexIVF):
        n_lists = min(index.nlist, math.ceil(index.nprobe / max(share, 1e-9)))
        return faiss.SearchParametersIVF(sel=selector, nprobe=n_lists)
    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(sel=selector, efSearch=index.hnsw.efSearch)
    return faiss.SearchParameters(sel=selector)
