"""Retrieval metrics, compared with their formulas computed one pair at a time."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketplace.evaluation.retrieval import (
    CURVE_LENGTH,
    MAX_QUERIES,
    average_precision_at_r,
    find_neighbours,
    measure_retrieval,
    nearest,
    precision_at_k,
    recall_at_k,
    recall_curve,
    sample_queries,
    top_places,
)
from marketplace.relevance.uncertainty import mean
from marketplace.vectors.tables import PhotoVectors
from marketplace.vectors.unit_length import to_unit_length


def catalogue(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return embeddings, product ids, categories and file hashes; some files are copies, some vectors are equal."""
    rng = np.random.default_rng(seed)
    embeddings = rng.integers(-2, 3, (n, 4)).astype(np.float32)
    products = rng.integers(0, max(1, n // 2), n).astype(str)
    categories = rng.integers(0, 3, n).astype(str)
    sha256 = np.arange(n).astype(str)
    for _ in range(n // 4):
        copy, original = rng.integers(0, n, 2)
        sha256[copy] = sha256[original]
        embeddings[copy] = embeddings[original]
    return embeddings, products, categories, sha256


def rank_gallery(embeddings: np.ndarray, sha256: np.ndarray, query: int) -> list[int]:
    """Return all of a query's gallery, nearest first, one pair at a time."""
    gallery = [i for i in range(len(embeddings)) if sha256[i] != sha256[query]]
    return sorted(gallery, key=lambda i: (-cosine(embeddings, query, i), i))


def cosine(embeddings: np.ndarray, a: int, b: int) -> float:
    """Return the cosine of two embeddings, rounded so that float32's precision makes no difference."""
    norms = math.sqrt(float(embeddings[a] @ embeddings[a])) * math.sqrt(float(embeddings[b] @ embeddings[b]))
    return round(float(embeddings[a] @ embeddings[b]) / norms, 5) if norms else 0.0


@given(seed=st.integers(0, 10_000), n=st.integers(2, 40), k=st.integers(1, 12))
@hypothesis_settings(max_examples=60, deadline=None)
def test_the_metrics_agree_with_a_ranking_made_one_pair_at_a_time(seed: int, n: int, k: int) -> None:
    embeddings, products, categories, sha256 = catalogue(seed, n)
    queries = np.arange(0, n, 2)
    neighbours = nearest(embeddings, sha256, queries, k)
    assert neighbours.shape == (len(queries), k)

    hits = []
    precisions = []
    for query, row in zip(queries.tolist(), neighbours.tolist(), strict=True):
        expected = rank_gallery(embeddings, sha256, query)
        present = [i for i in row if i >= 0]
        assert len(present) == min(k, len(expected))
        # Equal vectors may swap within float32's precision: the similarities in order must agree.
        similarities = [cosine(embeddings, query, i) for i in present]
        assert similarities == [cosine(embeddings, query, i) for i in expected[:k]]
        if any(products[i] == products[query] for i in expected):
            hits.append(float(any(products[i] == products[query] for i in present)))
        else:
            hits.append(math.nan)
        precisions.append(sum(categories[i] == categories[query] for i in present) / k)
    recall = recall_at_k(neighbours, products, sha256, queries, k)
    np.testing.assert_array_equal(recall, hits)
    assert precision_at_k(neighbours, categories, queries, k) == pytest.approx(precisions)


def test_many_queries_get_the_same_neighbours_as_one_by_one() -> None:
    embeddings = np.random.default_rng(0).normal(size=(1200, 8)).astype(np.float32)
    sha256 = np.arange(1200)
    together = nearest(embeddings, sha256, np.arange(1200), 3)
    alone = np.concatenate([nearest(embeddings, sha256, np.array([query]), 3) for query in range(0, 1200, 50)])
    assert (together[::50] == alone).all()


def test_a_copy_of_the_query_is_no_success() -> None:
    embeddings = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    products = np.array(["a", "a", "b"])
    sha256 = np.array(["same", "same", "other"])
    neighbours = nearest(embeddings, sha256, np.array([0]), 2)
    assert neighbours.tolist() == [[2, -1]]
    assert np.isnan(recall_at_k(neighbours, products, sha256, np.array([0]), 1)).tolist() == [True]


def shop(leaves_per_root: int) -> pd.DataFrame:
    """Return 30 products with two photos each, in three root categories."""
    return pd.DataFrame(
        {
            "product_id": np.repeat([f"p{i}" for i in range(30)], 2),
            "category": np.repeat([f"c{i}" for i in range(3)], 20),
            "category_path": np.repeat([f"l{i}" for i in range(3 * leaves_per_root)], 20 // leaves_per_root),
            "sha256": np.arange(60).astype(str),
        }
    )


def measure(vectors: PhotoVectors, table: pd.DataFrame) -> dict[str, float]:
    """Return the retrieval metrics with every photo as a query."""
    queries = np.arange(len(table))
    values = measure_retrieval(find_neighbours(vectors, table, queries), table, queries)
    return {name: mean(of_queries) for name, of_queries in values.items()}


def without_hubs(identity: np.ndarray, kind: np.ndarray) -> PhotoVectors:
    return PhotoVectors(identity=identity, kind=kind, hub_bias=np.zeros(len(kind), np.float32))


def test_perfect_and_useless_embeddings_get_the_metrics_they_deserve() -> None:
    table = shop(leaves_per_root=1)
    roots = np.eye(3)[np.repeat(np.arange(3), 20)]
    products = np.repeat(np.eye(30), 2, axis=0)
    perfect = np.concatenate([roots, products], axis=1).astype(np.float32)
    metrics = measure(without_hubs(perfect, perfect), table)
    assert list(metrics.values()) == pytest.approx([1.0] * 5)
    random = np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)
    useless = measure(without_hubs(random, random), table)
    assert useless["leave_one_out_recall_at_1"] < 0.15
    assert abs(useless["category_precision_at_10"] - 19 / 59) < 0.1
    assert useless["leaf_map_at_r"] < 19 / 59


def test_the_curve_rises_through_the_reported_points() -> None:
    table = shop(leaves_per_root=1)
    queries = np.arange(60)
    random = np.random.default_rng(1).normal(size=(60, 8)).astype(np.float32)
    neighbours = find_neighbours(without_hubs(random, random), table, queries)
    curve = recall_curve(neighbours, table, queries)
    metrics = {name: mean(values) for name, values in measure_retrieval(neighbours, table, queries).items()}
    assert len(curve) == CURVE_LENGTH
    assert curve == sorted(curve)
    assert curve[0] == metrics["leave_one_out_recall_at_1"]
    assert curve[9] == metrics["leave_one_out_recall_at_10"]


def test_leaves_are_judged_by_the_whole_path() -> None:
    table = shop(leaves_per_root=2)
    roots_alone = np.eye(3, dtype=np.float32)[np.repeat(np.arange(3), 20)]
    metrics = measure(without_hubs(roots_alone, roots_alone), table)
    assert metrics["category_precision_at_10"] == 1.0
    assert metrics["leaf_precision_at_10"] < 1.0


def compute_map_at_r(similarity: np.ndarray, keys: np.ndarray, sha256: np.ndarray) -> float:
    """Compute the formula of `average_precision_at_r` word by word."""
    values = []
    for query in range(len(keys)):
        gallery = [i for i in range(len(keys)) if sha256[i] != sha256[query]]
        ranked = sorted(gallery, key=lambda i: (-similarity[query, i], i))
        n_right = sum(keys[i] == keys[query] for i in gallery)
        if not n_right:
            continue
        right = [keys[i] == keys[query] for i in ranked[:n_right]]
        values.append(sum(hit * sum(right[: place + 1]) / (place + 1) for place, hit in enumerate(right)) / n_right)
    return float(np.mean(values)) if values else math.nan


@given(seed=st.integers(0, 1000), n=st.integers(2, 14), n_keys=st.integers(1, 4), n_photos=st.integers(1, 14))
def test_map_at_r_is_its_formula(seed: int, n: int, n_keys: int, n_photos: int) -> None:
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, n_keys, n).astype(str)
    sha256 = rng.integers(0, n_photos, n).astype(str)
    vectors = to_unit_length(rng.normal(size=(n, 5)).astype(np.float32))
    queries = np.arange(n)
    computed = average_precision_at_r(nearest(vectors, sha256, queries, n), keys, sha256, queries)
    assert mean(computed) == pytest.approx(compute_map_at_r(vectors @ vectors.T, keys, sha256), nan_ok=True)


def test_each_job_is_measured_by_its_own_vectors() -> None:
    table = shop(leaves_per_root=1)
    products = np.repeat(np.eye(30, dtype=np.float32), 2, axis=0)
    random = np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)
    metrics = measure(without_hubs(identity=products, kind=random), table)
    assert metrics["leave_one_out_recall_at_1"] == 1.0
    assert metrics["category_precision_at_10"] < 0.6


def test_a_hub_is_found_less_often() -> None:
    vectors = to_unit_length(np.array([[1, 0], [0.8, 0.6], [0.7, 0.71]], dtype=np.float32))
    sha256 = np.array(list("abc"))
    assert nearest(vectors, sha256, np.array([0]), 1).tolist() == [[1]]
    bias = np.array([0, 0.2, 0], dtype=np.float32)
    assert nearest(vectors, sha256, np.array([0]), 1, bias).tolist() == [[2]]


@given(values=st.lists(st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 2.0]), min_size=1), k=st.integers(1, 30))
def test_the_top_places_are_the_first_of_a_stable_sort(values: list[float], k: int) -> None:
    array = np.array(values, dtype=np.float32)
    assert top_places(array, k).tolist() == np.argsort(-array, kind="stable")[:k].tolist()


def test_few_queries_are_all_used_and_many_are_sampled() -> None:
    few = np.arange(0, 100, 3)
    many = np.arange(0, 50_000, 2)
    assert (sample_queries(few) == few).all()
    sample = sample_queries(many)
    assert len(sample) == MAX_QUERIES
    assert set(sample) < set(many)
    assert (np.diff(sample) > 0).all()
    assert (sample_queries(many) == sample).all()
    assert abs(sample.mean() / many.mean() - 1) < 0.02
