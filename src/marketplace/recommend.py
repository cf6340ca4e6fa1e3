"""Similar products for every product."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from marketplace.files import replacing
from marketplace.products import Products, display_name
from marketplace.settings import RecommendSettings

SIMILARITIES_AT_ONCE = 2**27  # 512 MiB of float32: what the table takes beside the vectors, however many there are
PROBES = 50  # products whose recommendations are kept in Git
SCHEMA = pa.schema(
    [
        ("product_id", pa.string()),
        ("rank", pa.int32()),  # 1 … recommend.k
        ("similar_product_id", pa.string()),
        ("score", pa.float32()),  # cosine of the two most similar photos
        ("same_photo", pa.bool_()),  # both products show the very same file, or are linked by others that do
    ]
)


def recommendations(products: Products, vectors: np.ndarray, settings: RecommendSettings) -> Iterator[pa.RecordBatch]:
    """For every product its `settings.k` most similar other products, block by block.

    `vectors` `(N, d)`, of unit length, in the order of the training data. Two products are as similar as their most
    similar pair of photos. Of products that share a photo one is listed, marked where it shares it with the query.
    """
    ordered = np.ascontiguousarray(vectors[products.photos])
    n_products, n_photos, ends = len(products.table), len(products.photos), products.ends
    allowed = _rules(products.table, settings)
    first = 0
    with tqdm(total=n_products, desc="recommending", unit="product", mininterval=0.5) as progress:
        while first < n_products:
            # As many whole products as fit, one at least.
            room = products.starts[first] + SIMILARITIES_AT_ONCE // n_photos
            last = max(first + 1, int(np.searchsorted(ends, room, side="right")))
            numbers = np.arange(first, last)
            photos = slice(products.starts[first], ends[last - 1])
            by_product = highest(ordered @ ordered[photos].T, products.starts)  # (P, photos)
            scores = highest(np.ascontiguousarray(by_product.T), products.starts[numbers] - products.starts[first])
            scores[~allowed(numbers)] = -np.inf
            yield _ranked(products, numbers, scores, settings.k)
            progress.update(len(numbers))
            first = last


def highest(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The maxima `(len(starts), M)` of the rows of `values` `(N, M)` from each start up to the next.

    It is what `np.maximum.reduceat` gives, which took ten times as long where few rows belong together.
    """
    counts = np.diff(starts, append=len(values))
    result: np.ndarray = values[starts]
    for place in range(1, counts.max(initial=1)):
        longer = np.flatnonzero(counts > place)
        result[longer] = np.maximum(result[longer], values[starts[longer] + place])
    return result


def _rules(table: pd.DataFrame, settings: RecommendSettings) -> Callable[[np.ndarray], np.ndarray]:
    """A function of some products' numbers: which of all P may be recommended for each, `(len(numbers), P) bool`."""
    wanted = {"category": settings.same_category, "location": settings.same_location}
    codes = [pd.factorize(table[column])[0] for column in wanted if wanted[column]]
    price, factor = table["price"].astype(float).to_numpy(), settings.price_factor

    def allowed(numbers: np.ndarray) -> np.ndarray:
        mask: np.ndarray = numbers[:, None] != np.arange(len(table))[None, :]  # never a product for itself
        for code in codes:
            mask &= code[numbers][:, None] == code[None, :]
        if factor is not None:
            low, high = price[numbers] / factor, price[numbers] * factor
            mask &= (price >= low[:, None]) & (price <= high[:, None])
        return mask

    return allowed


def _ranked(products: Products, numbers: np.ndarray, scores: np.ndarray, k: int) -> pa.RecordBatch:
    ids, groups = products.table["product_id"].to_numpy(), products.groups
    similar: list[int] = []
    lengths: list[int] = []
    for row in scores:
        best = one_per_group(row, groups, k)
        similar += best.tolist()
        lengths.append(len(best))
    queries = np.repeat(np.arange(len(numbers)), lengths)
    return pa.record_batch(
        {
            "product_id": ids[numbers[queries]],
            "rank": np.concatenate([np.arange(1, length + 1) for length in lengths]).astype(np.int32),
            "similar_product_id": ids[similar],
            "score": scores[queries, similar].astype(np.float32),
            "same_photo": groups[similar] == groups[numbers[queries]],
        },
        schema=SCHEMA,
    )


def one_per_group(scores: np.ndarray, groups: np.ndarray, k: int) -> np.ndarray:
    """The places `(<= k,)` of the highest finite scores `(P,)`, highest first, each of another group.

    Equal scores are ordered by place.
    """
    looked_at = min(len(scores), 4 * k)
    while True:
        candidates = np.arange(len(scores))
        if looked_at < len(scores):
            # All that reach the lowest score of the highest few: a tie is not cut at random.
            candidates = np.flatnonzero(scores >= -np.partition(-scores, looked_at - 1)[looked_at - 1])
        order = candidates[np.argsort(-scores[candidates], kind="stable")]
        order = order[np.isfinite(scores[order])]
        chosen: np.ndarray = order[np.sort(np.unique(groups[order], return_index=True)[1])][:k]
        if len(chosen) == k or len(candidates) == len(scores):
            return chosen
        looked_at = len(scores)


def recommendation_metrics(products: Products, recommended: pd.DataFrame) -> dict[str, float]:
    """How good a table of recommendations is for the products of the test split.

    Precisions are the share of recommended products of the same root category, or of the same leaf; those that share a
    photo with the product are not counted. Coverage is the share of all products that are recommended to any.
    """
    by_id = products.table.set_index("product_id")
    tested = recommended[recommended["product_id"].map(by_id["split"]).eq("test") & ~recommended["same_photo"]]
    figures = {
        name: (tested["product_id"].map(by_id[column]) == tested["similar_product_id"].map(by_id[column])).mean()
        for name, column in (("category_precision", "category"), ("leaf_precision", "category_path"))
    }
    figures["coverage"] = recommended["similar_product_id"].nunique() / len(by_id)
    return {name: round(float(value), 5) for name, value in figures.items() if np.isfinite(value)}


def probe(products: Products, recommended: pd.DataFrame) -> list[dict[str, Any]]:
    """What is recommended for a fixed handful of products, small enough for Git: a review compares it over commits.

    Those whose ids hash lowest: they stay the same ones while others come and go.
    """
    facts = products.table.set_index("product_id")
    chosen = sorted(facts.index, key=lambda product_id: hashlib.sha256(product_id.encode()).digest())[:PROBES]
    similar = recommended.groupby("product_id")["similar_product_id"].agg(list)
    return [
        {
            "product_id": product_id,
            "name": display_name(facts["product_name"][product_id]),
            "category": facts["category"][product_id],
            "similar": similar.get(product_id, []),
        }
        for product_id in chosen
    ]


def write_recommendations(path: Path, batches: Iterator[pa.RecordBatch]) -> None:
    """Write the table, one block after the other."""
    with replacing(path) as part, pq.ParquetWriter(part, SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch)
