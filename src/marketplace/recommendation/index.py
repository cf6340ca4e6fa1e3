"""The FAISS index over all photos' vectors, exact or approximate, built from a factory string."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import replacing


def build_index(vectors: np.ndarray, factory: str, search: str | None = None) -> Any:
    """A FAISS index over unit-length vectors `(N, d) float32`; a number in it is a row of `vectors`.

    `factory` is FAISS's description of an index (https://github.com/facebookresearch/faiss/wiki/The-index-factory),
    `search` its parameters for searching, such as `nprobe=32`: they stay with the index.
    Raises MarketplaceError if FAISS does not know one of them, or cannot train the index on so few vectors.
    """
    try:
        index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        if search:
            faiss.ParameterSpace().set_index_parameters(index, search)
        index.train(vectors)
        index.add(vectors)
    except RuntimeError as error:
        n, dimensions = vectors.shape
        what = str(error).strip().splitlines()[-1]
        raise MarketplaceError(
            f"recommend.index = {factory!r} with recommend.index_search = {search!r} does not work for {n} vectors of "
            f"{dimensions} values: {what}"
        ) from None
    return index


def write_index(path: Path, vectors: np.ndarray, factory: str, search: str | None = None) -> None:
    """Build an index (see build_index) and write it: the same bytes for the same vectors."""
    faiss.omp_set_num_threads(1)  # with more, the links of an HNSW graph differ from run to run
    index = build_index(vectors, factory, search)
    with replacing(path) as part:
        faiss.write_index(index, str(part))


def read_index(path: Path) -> Any:
    """Read an index; each search uses one thread, since the server answers several questions at a time."""
    faiss.omp_set_num_threads(1)
    return faiss.read_index(str(path))


def nearest_among(index: Any, vectors: np.ndarray, among: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(similarities, rows), `(Q, k)` each, most similar first, of the rows for which `among` `(N,) bool` is true.

    A row is -1 if an approximate index finds no more.
    """
    bitmap = np.packbits(among, bitorder="little")
    selector = faiss.IDSelectorBitmap(bitmap)
    scores, rows = index.search(vectors, k, params=_parameters(index, selector))
    return scores, rows


def _parameters(index: Any, selector: Any) -> Any:
    """FAISS's search parameters for the index's own kind, restricted to a selector's rows."""
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
