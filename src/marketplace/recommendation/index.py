"""The FAISS index over the vectors of all photos, exact or approximate, built from a factory string."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import replacing


def build_index(vectors: np.ndarray, factory: str, search: str | None = None) -> Any:
    """Build a FAISS index over unit-length vectors `(N, d) float32`; a number in it is a row of `vectors`.

    `factory` is FAISS's description of an index (https://github.com/facebookresearch/faiss/wiki/The-index-factory).
    `search` holds its search parameters, such as `nprobe=32`, which are stored with the index.
    Raises MarketplaceError if FAISS rejects one of them, or needs more vectors to train the index, or if the index
    cannot be filtered.
    """
    try:
        index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        if search:
            faiss.ParameterSpace().set_index_parameters(index, search)
        index.train(vectors)
        index.add(vectors)
    except RuntimeError as error:
        n, dimensions = vectors.shape
        raise MarketplaceError(
            f"recommend.index = {factory!r} with recommend.index_search = {search!r} does not work for {n} vectors of "
            f"{dimensions} values: {_reason(error)}"
        ) from None
    _check_filters(index, vectors, factory)
    return index


def _check_filters(index: Any, vectors: np.ndarray, factory: str) -> None:
    """Ask an index once about some rows only. Only its kind decides whether it can; FAISS has no list of them."""
    every_other = np.arange(len(vectors)) % 2 == 1  # without row 0, the nearest to its own vector
    try:
        _, rows = nearest_among(index, vectors[:1], every_other, k=1)
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


def write_index(path: Path, vectors: np.ndarray, factory: str, search: str | None = None) -> None:
    """Build an index (see build_index) and write it. The same vectors give the same bytes."""
    faiss.omp_set_num_threads(1)  # with more threads, the links of an HNSW graph differ from run to run
    index = build_index(vectors, factory, search)
    with replacing(path) as part:
        faiss.write_index(index, str(part))


def read_index(path: Path) -> Any:
    """Read an index. Each search uses one thread, since the server answers several questions at a time."""
    faiss.omp_set_num_threads(1)
    return faiss.read_index(str(path))


def nearest_among(index: Any, vectors: np.ndarray, among: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (similarities, rows), `(Q, k)` each: the rows nearest to `vectors` `(Q, d)`, most similar first.

    Only rows for which `among` `(N,) bool` is true are searched. If an approximate index returns fewer than k, the
    remaining rows are -1.
    """
    bitmap = np.packbits(among, bitorder="little")
    selector = faiss.IDSelectorBitmap(bitmap)
    scores, rows = index.search(vectors, k, params=_parameters(index, selector))
    return scores, rows


def _parameters(index: Any, selector: Any) -> Any:
    """Return FAISS's search parameters for this kind of index, restricted to a selector's rows."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return faiss.SearchParametersPreTransform(index_params=_parameters(index.index, selector))
    if isinstance(index, faiss.IndexRefine):
        base = _parameters(index.base_index, selector)
        return faiss.IndexRefineSearchParameters(k_factor=index.k_factor, base_index_params=base)
    if isinstance(index, faiss.IndexIVF):
        return faiss.SearchParametersIVF(sel=selector, nprobe=index.nprobe)
    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(sel=selector, efSearch=index.hnsw.efSearch)
    return faiss.SearchParameters(sel=selector)
