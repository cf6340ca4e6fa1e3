"""Indexes of several libraries at several sizes: recall, latency, throughput, build time and size.

    python benchmarks/search.py [--sizes 10000 100000 1000000] [--only NAME] [--filters] [--json OUT]

The vectors are those of data/embeddings.parquet (`dvc repro extract` makes them), multiplied to any number by adding to
one of them a part of the difference of two others: noise with a real spectrum. Queries are made the same way.
One query at a time runs on one core, as on a busy server; building and batches use all cores. hnswlib and usearch are
measured if they are installed (`pip install hnswlib usearch`). With --filters, what filters cost instead: questions as
`marketplace serve` asks them, to our own indexes, while a share of the products passes: those least like the question.
"""

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
from workspace import ROOT, parser, report, table

from marketplace.recommendation import ranking
from marketplace.recommendation.filters import Filters
from marketplace.recommendation.index import build_index
from marketplace.recommendation.products import Products
from marketplace.vectors.unit_length import to_unit_length

N_QUERIES = 1000
N_FILTERED = 100
SHARES = (0.001, 0.01, 0.1, 0.5)
SINGLE_SECONDS = 20  # at most this long for single queries
K = 10
NOISE = 0.5  # of the difference of two real vectors
Search = Callable[[np.ndarray], np.ndarray]


@dataclass
class Result:
    """The figures of one index at one size."""

    size: int
    name: str
    recall: float  # share of the exact ten nearest that are among its ten
    p50: float  # ms for one query
    p99: float
    per_second: float  # queries, in batches
    build: float  # seconds
    bytes_per_vector: float


def main() -> None:
    """Parse the command line, run, print."""
    command = parser(__doc__, params=False)
    command.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    command.add_argument("--only", default="", help="indexes with this in their name")
    command.add_argument("--filters", action="store_true", help="measure questions with filters")
    options = command.parse_args()
    real = np.stack(pd.read_parquet(ROOT / "data/embeddings.parquet")["kind"])
    if options.filters:
        measure_filters(real, options.sizes, options.only, options.json)
        return
    results = []
    for size in options.sizes:
        vectors, queries = multiplied(real, size, seed=0), multiplied(real, N_QUERIES, seed=1)
        exact = nearest(build_index(vectors, "Flat"))(queries)
        for name, build in contenders(size).items():
            if options.only not in name:
                continue
            result = measure(name, build, vectors, queries, exact)
            print(result, file=sys.stderr, flush=True)
            results.append(result)
    columns = ["vectors", "index", "recall@10", "p50", "p99", "queries/s", "build", "bytes/vector"]
    rows = [
        [
            f"{result.size:,}",
            f"`{result.name}`",
            f"{result.recall:.3f}",
            f"{result.p50:.2f} ms",
            f"{result.p99:.2f} ms",
            f"{result.per_second:,.0f}",
            f"{result.build:.0f} s",
            f"{result.bytes_per_vector:,.0f}",
        ]
        for result in results
    ]
    report({"results": [asdict(result) for result in results]}, table(columns, rows), options.json)


def measure_filters(real: np.ndarray, sizes: list[int], only: str, json: Path | None) -> None:
    """Print how long questions with filters take, and how many of the ten products there are they find."""
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    rows = []
    for size in sizes:
        vectors, queries = multiplied(real, size, seed=0), multiplied(real, N_FILTERED, seed=1)
        products = of_one_photo_each(size)
        n_lists = int(2 ** round(np.log2(4 * size**0.5)))
        for factory, how in (("Flat", None), ("HNSW32", "efSearch=64"), (f"IVF{n_lists},SQ8", "nprobe=32")):
            if only in factory:
                index = ranking.IndexSearch(partial(build_index, vectors, factory, how), vectors, products)
                _ = index.index  # built before the clock starts
                name = f"{factory}, {how or ''}"
                rows += [filtered_row(products, index, vectors, queries, share, name) for share in SHARES]
    report({"rows": rows}, table(["vectors", "index", "pass", "found", "p50", "p99"], rows), json)


def filtered_row(
    products: Products, search: ranking.Search, vectors: np.ndarray, queries: np.ndarray, share: float, name: str
) -> list[str]:
    """A row of the table: one index, and a share of products that passes."""
    faiss.omp_set_num_threads(1)
    nobody = np.array([], dtype=int)
    found, times = 0, []
    for query in queries:
        likeness = vectors @ query
        restriction = ranking.Restriction(passing=likeness <= np.quantile(likeness, share), filters=Filters())
        started = time.perf_counter()
        found += len(ranking.nearest_products(products, search, query[None], K, restriction, nobody))
        times.append(1000 * (time.perf_counter() - started))
    p50, p99 = np.percentile(times, [50, 99])
    share_found = found / (K * len(queries))
    size = len(vectors)
    return [
        f"{size:,}",
        f"`{name.rstrip(', ')}`",
        f"{share:.1%}",
        f"{share_found:.1%}",
        f"{p50:.1f} ms",
        f"{p99:.1f} ms",
    ]


def of_one_photo_each(n: int) -> Products:
    """Products with one photo each, none of which share anything."""
    rows = np.arange(n)
    columns = {"product_id": rows.astype(str), "product_name": rows.astype(str), "group": rows}
    return Products(pd.DataFrame(columns), rows.astype(str), rows, rows)


def multiplied(real: np.ndarray, n: int, seed: int) -> np.ndarray:
    """`n` unit-length vectors: each a real one plus NOISE times the difference of two others."""
    rng = np.random.default_rng(seed)
    vectors = np.empty((n, real.shape[1]), dtype=np.float32)
    for start in range(0, n, 100_000):
        rows = rng.integers(0, len(real), (3, min(100_000, n - start)))
        vectors[start : start + rows.shape[1]] = to_unit_length(real[rows[0]] + NOISE * (real[rows[1]] - real[rows[2]]))
    return vectors


def contenders(size: int) -> dict[str, Callable[[np.ndarray], tuple[Search, float]]]:
    """For each index how to build it: a function of the vectors that gives how to search it, and its size in bytes."""
    n_lists = int(2 ** round(np.log2(4 * size**0.5)))
    quantised = f"IVF{n_lists},PQ64x4fs,Refine(SQ8)"
    found: dict[str, Callable[[np.ndarray], tuple[Search, float]]] = {
        "Flat": lambda vectors: ours(vectors, "Flat", None),
        "HNSW32, efSearch=64": lambda vectors: ours(vectors, "HNSW32", "efSearch=64"),
        "HNSW32,SQ8, efSearch=64": lambda vectors: ours(vectors, "HNSW32,SQ8", "efSearch=64"),
        f"{quantised}, nprobe=32,k_factor_rf=16": lambda vectors: ours(vectors, quantised, "nprobe=32,k_factor_rf=16"),
        f"IVF{n_lists},SQ8, nprobe=32": lambda vectors: ours(vectors, f"IVF{n_lists},SQ8", "nprobe=32"),
    }
    if find_spec("hnswlib"):
        found["hnswlib, M=32, ef=64"] = with_hnswlib
    if find_spec("usearch"):
        found["usearch, connectivity=32, f16"] = with_usearch
    return found


def ours(vectors: np.ndarray, factory: str, search: str | None) -> tuple[Search, float]:
    """The index that `recommend.index` and `recommend.index_search` describe."""
    index = build_index(vectors, factory, search)
    return nearest(index), float(faiss.serialize_index(index).nbytes)


def nearest(index: Any) -> Search:
    """The rows `(Q, 10)` that a FAISS index finds."""

    def search(queries: np.ndarray) -> np.ndarray:
        rows: np.ndarray = index.search(queries, K)[1]
        return rows

    return search


def with_hnswlib(vectors: np.ndarray) -> tuple[Search, float]:
    """https://github.com/nmslib/hnswlib."""
    import hnswlib

    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=32, ef_construction=100)
    index.add_items(vectors)
    index.set_ef(64)
    return lambda queries: index.knn_query(queries, k=K, num_threads=threads(queries))[0], float(
        index.index_file_size()
    )


def with_usearch(vectors: np.ndarray) -> tuple[Search, float]:
    """https://github.com/unum-cloud/usearch."""
    from usearch.index import Index

    index = Index(ndim=vectors.shape[1], metric="ip", dtype="f16", connectivity=32, expansion_search=64)
    index.add(np.arange(len(vectors)), vectors)

    def search(queries: np.ndarray) -> np.ndarray:
        keys: np.ndarray = index.search(queries, K, threads=threads(queries)).keys.reshape(len(queries), -1)
        return keys

    return search, float(index.serialized_length)


def threads(queries: np.ndarray) -> int:
    """One for one query, all for a batch."""
    return 1 if len(queries) == 1 else os.cpu_count() or 1


def measure(
    name: str,
    build: Callable[[np.ndarray], tuple[Search, float]],
    vectors: np.ndarray,
    queries: np.ndarray,
    exact: np.ndarray,
) -> Result:
    """Build an index and ask it all the queries, one by one and in one batch (the best of three)."""
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    started = time.perf_counter()
    search, nbytes = build(vectors)
    built = time.perf_counter() - started
    batch = min(seconds(lambda: search(queries)) for _ in range(3))
    recall = np.mean([len(set(one) & set(other)) / K for one, other in zip(search(queries), exact, strict=True)])
    faiss.omp_set_num_threads(1)
    single: list[float] = []
    for query in np.split(queries, len(queries)):
        single.append(seconds(lambda query=query: search(query)))  # type: ignore[misc]
        if sum(single) > SINGLE_SECONDS and len(single) >= 100:
            break
    p50, p99 = np.percentile(single, [50, 99]) * 1000
    return Result(
        len(vectors), name, float(recall), float(p50), float(p99), len(queries) / batch, built, nbytes / len(vectors)
    )


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
