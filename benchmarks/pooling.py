"""Four ways to turn the similarities of all pairs of photos into one score of two products.

    python benchmarks/pooling.py [-S KEY=VALUE …] [--json OUT]

Runs the pipeline up to the vectors, and measures the ten most similar products of every test product.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from workspace import make_parser, report, table, workspace

from marketplace.recommendation.products import Products, products_of
from marketplace.recommendation.ranking import top_k_distinct
from marketplace.vectors.tables import read_embeddings
from marketplace.vectors.unit_length import to_unit_length

K = 10
Pool = Callable[[np.ndarray, Products], np.ndarray]  # vectors (N, d), product by product, to scores (P, P)


def main() -> None:
    """Parse the command line, measure, print the results."""
    options = make_parser(__doc__).parse_args()
    with workspace(options.set) as space:
        space.run("fetch", "clean", "resize_images", "pretrained", "train_small", "train_full", "extract")
        photos = pd.read_parquet(space.path("data/clean/training_data.parquet"))
        vectors = read_embeddings(space.path("data/embeddings.parquet"), photos).kind
    products = products_of(photos)
    results = {name: measure(products, pool(vectors[products.photos], products)) for name, pool in POOLS.items()}
    rows = [[name, *(f"{value:.4f}" for value in metrics.values())] for name, metrics in results.items()]
    columns = [
        "one score from all pairs of photos",
        "root precision@10",
        "leaf precision@10",
        "for products with several photos",
    ]
    report({"set": options.set, "results": results}, table(columns, rows), options.json)


def most_similar_pair(vectors: np.ndarray, products: Products) -> np.ndarray:
    """Return the maximum over all pairs, as `recommend` does."""
    return reduce_pairs(np.maximum, vectors @ vectors.T, products)


def mean_of_pairs(vectors: np.ndarray, products: Products) -> np.ndarray:
    """Return the mean over all pairs."""
    counts = products.ends - products.starts
    return reduce_pairs(np.add, vectors @ vectors.T, products) / (counts[:, None] * counts[None, :])


def mean_of_best(vectors: np.ndarray, products: Products) -> np.ndarray:
    """Average each photo's similarity to the most similar photo of the other product, both ways."""
    counts = products.ends - products.starts
    best = np.maximum.reduceat(vectors @ vectors.T, products.starts, axis=1)
    one_way = np.add.reduceat(best, products.starts, axis=0) / counts[:, None]
    return (one_way + one_way.T) / 2


def cosine_of_means(vectors: np.ndarray, products: Products) -> np.ndarray:
    """Return the cosine of the products' mean vectors."""
    means = to_unit_length(np.add.reduceat(vectors, products.starts, axis=0))
    return means @ means.T


def reduce_pairs(ufunc: Any, similarity: np.ndarray, products: Products) -> np.ndarray:
    """Reduce `(N, N)` over the photos of either product to `(P, P)` with a ufunc."""
    by_photo = ufunc.reduceat(similarity, products.starts, axis=1)
    return ufunc.reduceat(by_photo, products.starts, axis=0)


POOLS: dict[str, Pool] = {
    "the most similar pair": most_similar_pair,
    "the mean of all pairs": mean_of_pairs,
    "the mean of each photo's most similar one": mean_of_best,
    "the cosine of the mean vectors": cosine_of_means,
}


def measure(products: Products, scores: np.ndarray) -> dict[str, float]:
    """Return the shares of recommendations with the same root and leaf; the latter for several photos, too."""
    listings = products.table
    groups = products.groups
    has_several = products.ends - products.starts > 1
    root = []
    leaf = []
    leaf_of_several = []
    for number in np.flatnonzero(listings["split"] == "test"):
        row = scores[number].copy()
        row[groups == groups[number]] = -np.inf  # the product, and products that share a photo with it
        similar = listings.iloc[top_k_distinct(row, groups, K)]
        root.append((similar["category"] == listings["category"][number]).mean())
        leaf.append((similar["category_path"] == listings["category_path"][number]).mean())
        if has_several[number]:
            leaf_of_several.append(leaf[-1])
    return {
        "root": float(np.mean(root)),
        "leaf": float(np.mean(leaf)),
        "leaf_of_several": float(np.mean(leaf_of_several)),
    }


if __name__ == "__main__":
    main()
