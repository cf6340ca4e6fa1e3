"""Retrieval metrics: whether an image's nearest neighbours are what a shopper would call similar.

Similarity is the cosine of two embeddings. A query's gallery is the whole catalogue without the query itself and
without its byte-identical copies: finding the same file again does not count.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from marketplace.vectors.tables import PhotoVectors

QUERIES_AT_ONCE = 512  # bounds memory to 512 x N similarities
MOST_QUERIES = 3_000
CURVE = 20  # neighbours that the curve of recall@k goes to


def nearest(
    embeddings: np.ndarray, sha256: np.ndarray, queries: np.ndarray, k: int, hub_bias: np.ndarray | None = None
) -> np.ndarray:
    """The `k` nearest images of each query, nearest first: `(Q, k) int` row numbers.

    `embeddings` `(N, D)`, `sha256` `(N,)` of the files, `queries` `(Q,)` row numbers; `hub_bias` `(N,)` is subtracted
    from an image's similarity to all others. Equal similarities are ordered by row number. If fewer than k images are
    left in a gallery, the rest is -1.
    """
    unit = np.nan_to_num(normalised(embeddings))
    photo = np.unique(sha256, return_inverse=True)[1]
    found = np.full((len(queries), k), -1, dtype=np.int64)
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        rows = queries[start : start + QUERIES_AT_ONCE]
        similarity: np.ndarray = unit[rows] @ unit.T
        if hub_bias is not None:
            similarity -= hub_bias
        similarity[photo[rows][:, None] == photo[None, :]] = -np.inf
        for place, row in enumerate(similarity, start=start):
            best = top_places(row, k)
            best = best[row[best] > -np.inf]
            found[place, : len(best)] = best
    return found


def asked(queries: np.ndarray) -> np.ndarray:
    """The queries `(Q,)`, or MOST_QUERIES of them drawn at random, always the same ones, in their order.

    A share of so many has a standard error of at most 0.009; comparing every photo with every other would take time
    that grows with the square of the catalogue.
    """
    if len(queries) <= MOST_QUERIES:
        return queries
    return np.sort(np.random.default_rng(0).choice(queries, MOST_QUERIES, replace=False))


def top_places(values: np.ndarray, k: int) -> np.ndarray:
    """The places `(min(k, N),)` of the highest of `values` `(N,)`, highest first; equal ones in the order of places.

    The first k of a stable sort, without sorting the rest: a tenth of the time for 10 of 100,000.
    """
    if k >= len(values):
        return np.argsort(-values, kind="stable")
    least = np.partition(values, -k)[-k]
    above = np.flatnonzero(values > least)
    level = np.flatnonzero(values == least)[: k - len(above)]
    found: np.ndarray = np.concatenate([above[np.argsort(-values[above], kind="stable")], level])
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

    Q' are the queries for which the gallery has such an image at all; NaN if there are none. This is the recall@k
    of image retrieval (e.g. Oh Song et al., 2016, arXiv:1511.06452, section 5), where one hit is enough.
    `found` `(Q, >= k)` comes from `nearest`; `keys` and `sha256` are `(N,)`.
    """
    photos_of = pd.Series(sha256).groupby(keys).nunique()
    possible = photos_of[keys[queries]].to_numpy() > 1
    if not possible.any():
        return float("nan")
    return float(_same(found[:, :k], keys, queries)[possible].any(axis=1).mean())


def precision_at_k(found: np.ndarray, keys: np.ndarray, queries: np.ndarray, k: int) -> float:
    """Share of the first `k` neighbours that have the query's key (say, category).

        precision@k = 1/|Q| * sum over q of 1/k * |{i <= k : key(neighbour_i(q)) = key(q)}|

    An empty place counts as a miss.
    """
    return float(_same(found[:, :k], keys, queries).mean())


def map_at_r(found: np.ndarray, keys: np.ndarray, sha256: np.ndarray, queries: np.ndarray) -> float:
    """Mean average precision at R, where R is the number of photos in the gallery that have the query's key.

        MAP@R = 1/|Q'| * sum over q of 1/R_q * sum over i <= R_q of [neighbour_i(q) is right] * precision@i(q)

    Musgrave et al., 2020, arXiv:2003.08505, section 3.2; Q' are the queries with R > 0, NaN if there are none.
    `found` `(Q, >= max R)` comes from `nearest`.
    """
    right = _same(found, keys, queries)
    n_right = _gallery_counts(keys, sha256, queries)
    place = np.arange(1, found.shape[1] + 1)
    counted = right & (place <= n_right[:, None])
    precision = np.cumsum(counted, axis=1) / place
    possible = n_right > 0
    if not possible.any():
        return float("nan")
    return float(((precision * counted).sum(axis=1)[possible] / n_right[possible]).mean())


@dataclass(frozen=True)
class Neighbours:
    """The nearest images of some queries, by identity vectors and by kind vectors."""

    identity: np.ndarray  # (Q, >= CURVE) int row numbers, from `nearest`
    kind: np.ndarray  # (Q, >= CURVE)


def neighbours(vectors: PhotoVectors, table: pd.DataFrame, queries: np.ndarray) -> Neighbours:
    """As many nearest images of each query `(Q,)` (a row number) as the metrics below look at.

    `vectors` are those of the images of `table` (training data).
    """
    sha256, leaves = table["sha256"].to_numpy(), table["category_path"].to_numpy()
    most = int(_gallery_counts(leaves, sha256, queries).max())
    return Neighbours(
        identity=nearest(vectors.identity, sha256, queries, CURVE, vectors.hub_bias),
        kind=nearest(vectors.kind, sha256, queries, max(CURVE, most)),
    )


def recall_curve(found: Neighbours, table: pd.DataFrame, queries: np.ndarray) -> list[float]:
    """Same-product recall@1 to @`CURVE`."""
    sha256, products = table["sha256"].to_numpy(), table["product_id"].to_numpy()
    return [recall_at_k(found.identity, products, sha256, queries, k) for k in range(1, CURVE + 1)]


def retrieval_metrics(found: Neighbours, table: pd.DataFrame, queries: np.ndarray) -> dict[str, float]:
    """The retrieval metrics of a split's queries, each of the ranking that does the job.

    Same-product recall@1 and @10 of identity vectors; precision@10 of root categories and of leaves (the whole category
    path) and leaf mAP@R of kind vectors.
    """
    sha256, products = table["sha256"].to_numpy(), table["product_id"].to_numpy()
    roots, leaves = table["category"].to_numpy(), table["category_path"].to_numpy()
    return {
        "same_product_recall_at_1": recall_at_k(found.identity, products, sha256, queries, 1),
        "same_product_recall_at_10": recall_at_k(found.identity, products, sha256, queries, 10),
        "category_precision_at_10": precision_at_k(found.kind, roots, queries, 10),
        "leaf_precision_at_10": precision_at_k(found.kind, leaves, queries, 10),
        "leaf_map_at_r": map_at_r(found.kind, leaves, sha256, queries),
    }


def _gallery_counts(keys: np.ndarray, sha256: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """For each query, the number `(Q,) int` of photos with its key that are not copies of the query itself."""
    codes, photo = (np.unique(column, return_inverse=True)[1] for column in (keys, sha256))
    pairs = pd.Series(1, index=range(len(keys))).groupby([codes, photo]).sum()
    copies = pairs.loc[list(zip(codes[queries], photo[queries], strict=True))].to_numpy()
    counts: np.ndarray = np.bincount(codes)[codes[queries]] - copies
    return counts


def _same(found: np.ndarray, keys: np.ndarray, queries: np.ndarray) -> np.ndarray:
    same: np.ndarray = (keys[found] == keys[queries][:, None]) & (found >= 0)
    return same
