"""Four ways to turn the similarities of all pairs of photos into one score of two products.

    python benchmarks/pooling.py [-S KEY=VALUE …] [--json OUT]

Runs the pipeline up to the vectors, and measures the ten most similar products of every test product.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from workspace import parser, report, table, workspace

from marketplace.recommendation.products import Products, products_of
from marketplace.recommendation.ranking import top_k_distinct
from marketplace.vectors.tables import read_embeddings
from marketplace.vectors.unit_length import to_unit_length

K = 10
Pool = Callable[[np.ndarray, Products], np.ndarray]  # vectors (N, d), product by product, to scores (P, P)


def main() -> None:
    """Parse the command line, run, print."""
    options = parser(__doc__).parse_args()
    with workspace(options.set) as space:
        for stage in ("fetch", "clean", "resize_images", "pretrained", "train_small", "train_full", "extract"):
            space.run(stage)
        photos = pd.read_parquet(space.path("data/clean/training_data.parquet"))
        vectors = read_embeddings(space.path("data/embeddings.parquet"), photos).kind
    products = products_of(photos)
    results = {name: judged(products, pool(vectors[products.photos], products)) for name, pool in POOLS.items()}
    rows = [[name, *(f"{value:.4f}" for value in figures.values())] for name, figures in results.items()]
    heading = [
        "one score from all pairs of photos",
        "root precision@10",
        "leaf precision@10",
        "of products with several photos",
    ]
    report({"set": options.set, "results": results}, table(heading, rows), options.json)


def most_similar_pair(vectors: np.ndarray, products: Products) -> np.ndarray:
    """The maximum over all pairs (what `recommend` does)."""
    return reduced(np.maximum, vectors @ vectors.T, products)


def mean_of_pairs(vectors: np.ndarray, products: Products) -> np.ndarray:
    """The mean over all pairs."""
    counts = products.ends - products.starts
    scores: np.ndarray = reduced(np.add, vectors @ vectors.T, products) / (counts[:, None] * counts[None, :])
    return scores


def mean_of_best(vectors: np.ndarray, products: Products) -> np.ndarray:
    """Each photo's most similar photo of the other product, averaged both ways."""
    counts = products.ends - products.starts
    best = np.maximum.reduceat(vectors @ vectors.T, products.starts, axis=1)
    one_way = np.add.reduceat(best, products.starts, axis=0) / counts[:, None]
    scores: np.ndarray = (one_way + one_way.T) / 2
    return scores


def centroids(vectors: np.ndarray, products: Products) -> np.ndarray:
    """The cosine of the products' mean vectors."""
    means = to_unit_length(np.add.reduceat(vectors, products.starts, axis=0))
    scores: np.ndarray = means @ means.T
    return scores


def reduced(function: Any, similarity: np.ndarray, products: Products) -> np.ndarray:
    """A ufunc over the photos of either product."""
    by_photo = function.reduceat(similarity, products.starts, axis=1)
    scores: np.ndarray = function.reduceat(by_photo, products.starts, axis=0)
    return scores


POOLS: dict[str, Pool] = {
    "the most similar pair": most_similar_pair,
    "the mean of all pairs": mean_of_pairs,
    "the mean of each photo's most similar one": mean_of_best,
    "the cosine of the mean vectors": centroids,
}


def judged(products: Products, scores: np.ndarray) -> dict[str, float]:
    """Shares of the recommended that are of the same root, and of the same leaf; the latter for several photos, too."""
    facts, groups = products.table, products.groups
    several = products.ends - products.starts > 1
    root, leaf, leaf_of_several = [], [], []
    for number in np.flatnonzero(facts["split"] == "test"):
        row = scores[number].copy()
        row[groups == groups[number]] = -np.inf  # itself, and products that share a photo with it
        found = facts.iloc[top_k_distinct(row, groups, K)]
        root.append((found["category"] == facts["category"][number]).mean())
        leaf.append((found["category_path"] == facts["category_path"][number]).mean())
        if several[number]:
            leaf_of_several.append(leaf[-1])
    return {
        "root": float(np.mean(root)),
        "leaf": float(np.mean(leaf)),
        "leaf_of_several": float(np.mean(leaf_of_several)),
    }


if __name__ == "__main__":
    main()
