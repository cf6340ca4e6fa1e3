"""The metrics of a ranking: how well an image's nearest neighbours are what a shopper would call similar.

Similarity is the cosine of two embeddings. A query's gallery is the whole catalogue without the query itself and
without its byte-identical copies: finding the same file again is no success.
"""

import numpy as np
import pandas as pd

QUERIES_AT_ONCE = 512  # bounds memory to 512 x N similarities


def nearest(embeddings: np.ndarray, sha256: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """The `k` nearest images of each query, nearest first: `(Q, k) int` row numbers.

    `embeddings` `(N, D)`, `sha256` `(N,)` of the files, `queries` `(Q,)` row numbers. Equal similarities are ordered by
    row number. Where fewer than k images are left in a gallery, the rest is -1.
    """
    unit = normalised(embeddings)
    photo = np.unique(sha256, return_inverse=True)[1]
    found = np.full((len(queries), k), -1, dtype=np.int64)
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        rows = queries[start : start + QUERIES_AT_ONCE]
        similarity: np.ndarray = unit[rows] @ unit.T
        similarity[photo[rows][:, None] == photo[None, :]] = -np.inf
        order: np.ndarray = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        missing: np.ndarray = np.take_along_axis(similarity, order, axis=1) == -np.inf
        found[start : start + len(rows), : order.shape[1]] = np.where(missing, -1, order)
    return found


def normalised(embeddings: np.ndarray) -> np.ndarray:
    """Embeddings `(..., D)` scaled to length 1; a zero vector stays zero."""
    unit: np.ndarray = embeddings / np.maximum(np.linalg.norm(embeddings, axis=-1, keepdims=True), 1e-12)
    return unit


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """The cosine similarity of two embeddings `(D,)`."""
    return float(normalised(one) @ normalised(other))


def recall_at_k(found: np.ndarray, keys: np.ndarray, sha256: np.ndarray, queries: np.ndarray, k: int) -> float:
    """Share of queries with an image of the same key (say, product) among their first `k` neighbours.

        recall@k = 1/|Q'| * sum over q in Q' of [some i <= k has key(neighbour_i(q)) = key(q)]

    Q' are the queries for which the gallery holds such an image at all; NaN where there are none. This is the recall@k
    of image retrieval (e.g. Oh Song et al., 2016, arXiv:1511.06452, section 5), where one hit is enough.
    `found` `(Q, >= k)` is what `nearest` gave; `keys` and `sha256` are `(N,)`.
    """
    photos_of = pd.Series(sha256).groupby(keys).nunique()
    possible = photos_of[keys[queries]].to_numpy() > 1
    if not possible.any():
        return float("nan")
    return float(_same(found[:, :k], keys, queries)[possible].any(axis=1).mean())


def precision_at_k(found: np.ndarray, keys: np.ndarray, queries: np.ndarray, k: int) -> float:
    """Share of the first `k` neighbours that have the query's key (say, category).

        precision@k = 1/|Q| * sum over q of 1/k * |{i <= k : key(neighbour_i(q)) = key(q)}|

    A place that no image fills counts as a miss.
    """
    return float(_same(found[:, :k], keys, queries).mean())


def retrieval_metrics(
    embeddings: np.ndarray, product_ids: np.ndarray, categories: np.ndarray, sha256: np.ndarray, queries: np.ndarray
) -> dict[str, float]:
    """Same-product recall@1 and @10 and category precision@10 of the `queries` among all images."""
    found = nearest(embeddings, sha256, queries, k=10)
    return {
        "same_product_recall_at_1": recall_at_k(found, product_ids, sha256, queries, 1),
        "same_product_recall_at_10": recall_at_k(found, product_ids, sha256, queries, 10),
        "category_precision_at_10": precision_at_k(found, categories, queries, 10),
    }


def _same(found: np.ndarray, keys: np.ndarray, queries: np.ndarray) -> np.ndarray:
    same: np.ndarray = (keys[found] == keys[queries][:, None]) & (found >= 0)
    return same
