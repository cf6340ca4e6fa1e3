"""Indexes of several libraries at several sizes: recall, latency, throughput, build time and size.

    python benchmarks/search.py [--sizes 10000 100000 1000000] [--only NAME] [--filters] [--json OUT]

The vectors are those of products, all parts side by side, as `dvc repro` makes them; queries have the weights of a
product's question. To multiply them, a part of the difference of two vectors is added to a third:
noise with a real spectrum. Queries are made the same way.
Single queries run on one core, as on a busy server; building and batches use all cores. hnswlib and usearch take part
if they are installed (`pip install hnswlib usearch`). --filters measures the cost of filters instead: our own indexes
answer questions as `marketplace serve` asks them, while a share of the products passes: the least similar ones.
"""

import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pandas as pd
from large_catalogue import multiply_vectors
from workspace import ROOT, best_seconds, make_parser, report, table

from marketplace.recommendation import ranking
from marketplace.recommendation.catalogue import read_catalogue
from marketplace.recommendation.filters import Filters
from marketplace.recommendation.index import build_index
from marketplace.recommendation.products import Products
from marketplace.recommendation.similarity import Parts, weigh
from marketplace.settings import load_settings

N_QUERIES = 1000
N_FILTERED_QUERIES = 100
SHARES = (0.001, 0.01, 0.1, 0.5)
MAX_SINGLE_SECONDS = 20
DECODED_UP_TO = 10_000  # vectors: indexes that decode every vector for every query take minutes beyond
K = 10
N_CORES = os.cpu_count() or 1
Search = Callable[[np.ndarray], np.ndarray]  # queries (Q, d) to rows (Q, K)


@dataclass(frozen=True)
class BuiltIndex:
    """An index over the vectors of a benchmark."""

    search: Search
    nbytes: float


@dataclass
class Result:
    """The measurements of one index at one size."""

    size: int
    name: str
    recall: float  # share of the exact ten nearest that are among its ten
    p50: float  # ms for one query
    p99: float
    per_second: float  # queries, in batches
    build: float  # seconds
    bytes_per_vector: float


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__, params=False)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--only", default="", help="indexes with this in their name")
    parser.add_argument("--filters", action="store_true", help="measure questions with filters")
    options = parser.parse_args()
    parts = read_catalogue(ROOT).parts
    if options.filters:
        measure_filters(parts, options.sizes, options.only, options.json)
    else:
        measure_indexes(parts, options.sizes, options.only, options.json)


def measure_indexes(real: Parts, sizes: list[int], only: str, json: Path | None) -> None:
    """Compare the indexes of all libraries."""
    results = []
    for size in sizes:
        vectors = multiply_products(real, size, seed=0)
        queries = make_queries(real, N_QUERIES)
        exact = search_with(build_index(vectors, "Flat"))(queries)
        for name, build in list_indexes(size, vectors.shape[1]).items():
            if only in name:
                result = measure_index(name, build, vectors, queries, exact)
                print(result, file=sys.stderr, flush=True)
                results.append(result)
    figures = {"real_products": len(real.join()), "results": [asdict(result) for result in results]}
    report(figures, format_indexes(figures), json)


def measure_filters(real: Parts, sizes: list[int], only: str, json: Path | None) -> None:
    """Measure how long questions with filters take, and the share of the ten products that they find."""
    rows = []
    for size in sizes:
        vectors = multiply_products(real, size, seed=0)
        queries = make_queries(real, N_FILTERED_QUERIES)
        products = make_products(size)
        for factory, parameters in (
            ("Flat", None),
            ("HNSW32", "efSearch=64"),
            (f"IVF{n_lists(size)},SQ8", "nprobe=32"),
        ):
            if only in factory:
                faiss.omp_set_num_threads(N_CORES)
                build = partial(build_index, vectors, factory, parameters)
                search = ranking.IndexSearch(build, np.arange(size))
                _ = search.index  # built before the clock starts
                name = f"{factory}, {parameters}" if parameters else factory
                rows += [measure_filter(products, search, vectors, queries, share, name) for share in SHARES]
    report({"rows": rows}, table(["vectors", "index", "pass", "found", "p50", "p99"], rows), json)


def measure_filter(
    products: Products, search: ranking.Search, vectors: np.ndarray, queries: np.ndarray, share: float, name: str
) -> list[str]:
    """Return a row of the table: one index, and a share of products that passes."""
    faiss.omp_set_num_threads(1)
    n_products = 0
    milliseconds = []
    for query in queries:
        similarity = vectors @ query
        restriction = ranking.Restriction(passing=similarity <= np.quantile(similarity, share), filters=Filters())
        started = time.perf_counter()
        nearest = ranking.nearest_products(
            products, search, query, K, restriction, query_products=np.array([], dtype=int)
        )
        milliseconds.append(1000 * (time.perf_counter() - started))
        n_products += len(nearest)
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return [
        f"{len(vectors):,}",
        f"`{name}`",
        f"{share:.1%}",
        f"{n_products / (K * len(queries)):.1%}",
        f"{p50:.1f} ms",
        f"{p99:.1f} ms",
    ]


def make_products(n: int) -> Products:
    """Make products with one photo each that share no photos and titles."""
    rows = np.arange(n)
    ids = rows.astype(str)
    columns = pd.DataFrame({"product_id": ids, "product_name": ids, "group": rows})
    return Products(table=columns, image_ids=ids, photos=rows, starts=rows)


def multiply_products(real: Parts, n: int, seed: int) -> np.ndarray:
    """Make the joined parts `(n, d)` of `n` products from those of real ones."""
    return multiply_vectors(real.join(), n, seed, list(real.dimensions.values()))


def make_queries(real: Parts, n: int) -> np.ndarray:
    """Make the questions `(n, d)` for products similar to some that the catalogue lacks."""
    weights = load_settings(ROOT / "params.yaml").recommend.weights.product
    return weigh(multiply_products(real, n, seed=1), real.dimensions, weights)


def n_lists(size: int) -> int:
    """Return the number of lists of an inverted file: the power of two nearest to 4 * sqrt(size)."""
    return int(2 ** round(np.log2(4 * size**0.5)))


def list_indexes(size: int, dimensions: int) -> dict[str, Callable[[np.ndarray], BuiltIndex]]:
    """Return, by name, functions that build an index over vectors."""
    padded = 64 * math.ceil(dimensions / 64)  # a product quantiser cuts a vector into 64 equal pieces
    quantised = f"Pad{padded},IVF{n_lists(size)},PQ64x4fs,Refine(SQ8)"
    indexes: dict[str, Callable[[np.ndarray], BuiltIndex]] = {
        "Flat": partial(build_ours, factory="Flat", parameters=None),
        "HNSW32, efSearch=64": partial(build_ours, factory="HNSW32", parameters="efSearch=64"),
        "HNSW32,SQ8, efSearch=64": partial(build_ours, factory="HNSW32,SQ8", parameters="efSearch=64"),
        f"{quantised}, nprobe=32,k_factor_rf=16": partial(
            build_ours, factory=quantised, parameters="nprobe=32,k_factor_rf=16"
        ),
    }
    inverted_file = f"IVF{n_lists(size)},SQ8"
    for parameters in ("nprobe=16", "nprobe=32"):
        indexes[f"{inverted_file}, {parameters}"] = partial(build_ours, factory=inverted_file, parameters=parameters)
    if size <= DECODED_UP_TO:
        indexes |= {name: partial(build_ours, factory=name, parameters=None) for name in ("SQfp16", "SQ8")}
    if find_spec("hnswlib"):
        indexes["hnswlib, M=32, ef=64"] = build_hnswlib
    if find_spec("usearch"):
        indexes["usearch, connectivity=32, f16"] = build_usearch
    return indexes


def build_ours(vectors: np.ndarray, factory: str, parameters: str | None) -> BuiltIndex:
    """Build the index that `recommend.index` and `recommend.index_search` describe."""
    index = build_index(vectors, factory, parameters)
    return BuiltIndex(search=search_with(index), nbytes=float(faiss.serialize_index(index).nbytes))


def search_with(index: Any) -> Search:
    """Return a function that searches a FAISS index."""

    def search(queries: np.ndarray) -> np.ndarray:
        return index.search(queries, K)[1]

    return search


def build_hnswlib(vectors: np.ndarray) -> BuiltIndex:
    """Build an index with https://github.com/nmslib/hnswlib."""
    import hnswlib

    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=32, ef_construction=100)
    index.add_items(vectors)
    index.set_ef(64)

    def search(queries: np.ndarray) -> np.ndarray:
        return index.knn_query(queries, k=K, num_threads=n_threads(queries))[0]

    return BuiltIndex(search=search, nbytes=float(index.index_file_size()))


def build_usearch(vectors: np.ndarray) -> BuiltIndex:
    """Build an index with https://github.com/unum-cloud/usearch."""
    from usearch.index import Index

    index = Index(ndim=vectors.shape[1], metric="ip", dtype="f16", connectivity=32, expansion_search=64)
    index.add(np.arange(len(vectors)), vectors)

    def search(queries: np.ndarray) -> np.ndarray:
        return index.search(queries, K, threads=n_threads(queries)).keys.reshape(len(queries), -1)

    return BuiltIndex(search=search, nbytes=float(index.serialized_length))


def n_threads(queries: np.ndarray) -> int:
    """Return one thread for one query, and all cores for a batch."""
    return 1 if len(queries) == 1 else N_CORES


def measure_index(
    name: str,
    build: Callable[[np.ndarray], BuiltIndex],
    vectors: np.ndarray,
    queries: np.ndarray,
    exact: np.ndarray,
) -> Result:
    """Build an index and send it all queries, one by one and in one batch (the best of three)."""
    faiss.omp_set_num_threads(N_CORES)
    started = time.perf_counter()
    index = build(vectors)
    build_seconds = time.perf_counter() - started
    batch_seconds = best_seconds(lambda: index.search(queries), runs=3)
    nearest = index.search(queries)
    recall = np.mean([np.isin(expected, rows).mean() for expected, rows in zip(exact, nearest, strict=True)])
    faiss.omp_set_num_threads(1)
    single_seconds: list[float] = []
    for query in np.split(queries, len(queries)):
        single_seconds.append(best_seconds(partial(index.search, query), runs=1))
        if sum(single_seconds) > MAX_SINGLE_SECONDS and len(single_seconds) >= 100:
            break
    p50, p99 = np.percentile(single_seconds, [50, 99]) * 1000
    return Result(
        size=len(vectors),
        name=name,
        recall=float(recall),
        p50=float(p50),
        p99=float(p99),
        per_second=len(queries) / batch_seconds,
        build=build_seconds,
        bytes_per_vector=index.nbytes / len(vectors),
    )


def format_indexes(results: dict[str, Any]) -> str:
    """Format the results, a row for each index and size."""
    columns = ["index", "vectors", "recall@10", "p50", "p99", "queries/s", "build", "bytes/vector"]
    rows = [
        [
            f"`{result['name']}`",
            f"{result['size']:,}",
            f"{result['recall']:.3f}",
            f"{result['p50']:.2f} ms",
            f"{result['p99']:.2f} ms",
            f"{result['per_second']:,.0f}",
            f"{result['build']:.0f} s",
            f"{result['bytes_per_vector']:,.0f}",
        ]
        for result in results["results"]
    ]
    origin = f"Multiplied from the vectors of {results['real_products']:,} products."
    return f"{table(columns, rows)}\n\n{origin}"


if __name__ == "__main__":
    main()
