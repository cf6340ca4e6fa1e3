"""The ranking for single questions, and its parts."""

import numpy as np
import pytest
from helpers.shop import shop
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketplace.recommendation import ranking
from marketplace.recommendation.filters import Filters
from marketplace.recommendation.index import build_index
from marketplace.recommendation.products import Products, products_of
from marketplace.recommendation.ranking import IndexSearch, Restriction, nearest_products
from marketplace.vectors.unit_length import to_unit_length

INDEXES = [
    ("Flat", None),
    ("HNSW16", "efSearch=8"),
    ("IVF32,SQ8", "nprobe=1"),
    ("IVF32,SQ8", "nprobe=4"),
    ("IVF16,PQ3x4fs,Refine(SQ8)", "nprobe=1"),
    ("SQ8", None),
]


@pytest.fixture(scope="module")
def large_shop() -> tuple[Products, np.ndarray]:
    """Products, and the vectors of their photos."""
    table, vectors = shop(seed=5, n_products=400)
    products = products_of(table)
    noise = np.random.default_rng(0).normal(scale=0.3, size=(len(table), vectors.shape[1]))
    return products, to_unit_length(vectors[products.product_of_row] + noise).astype(np.float32)


@pytest.mark.parametrize("few", [0, 10_000])
def test_the_index_is_where_the_vectors_are(
    large_shop: tuple[Products, np.ndarray], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    products, vectors = large_shop
    monkeypatch.setattr(ranking, "INDEX_ABOVE", few)
    monkeypatch.setattr(ranking, "ROWS_AT_ONCE", 50)
    search = IndexSearch(lambda: build_index(vectors, "Flat"), products.product_of_row)
    rows = np.array([5, 3, 300])
    assert search.vectors_of(rows).tolist() == vectors[rows].tolist()
    assert search.vectors_of(rows, slice(1, 3)).tolist() == vectors[rows, 1:3].tolist()
    everything = Restriction(passing=np.ones(len(products.table), dtype=bool), filters=Filters())
    nearest = search.nearest(vectors[5], everything, depth=len(vectors))
    assert nearest.complete
    np.testing.assert_allclose(nearest.scores, vectors @ vectors[5], atol=1e-6)


@pytest.mark.parametrize(("factory", "parameters"), INDEXES)
@given(seed=st.integers(0, 10_000), share=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]), k=st.integers(1, 40))
@hypothesis_settings(max_examples=30, deadline=None)
def test_every_index_gives_as_many_products_as_pass_the_filters(
    large_shop: tuple[Products, np.ndarray], factory: str, parameters: str | None, seed: int, share: float, k: int
) -> None:
    """Also where the passing rows are in lists that an approximate index does not search."""
    products, vectors = large_shop
    n_products = len(products.table)
    index = build_index(vectors, factory, parameters)
    rng = np.random.default_rng(seed)
    question = vectors[rng.integers(len(vectors))]
    similarity = np.full(n_products, -np.inf)
    np.maximum.at(similarity, products.product_of_row, vectors @ question)
    # The products least similar to the question pass: no filter is harder for an index.
    passing = similarity <= np.quantile(similarity, share) if share else np.zeros(n_products, dtype=bool)
    search = IndexSearch(lambda: index, products.product_of_row)
    restriction = Restriction(passing=passing, filters=Filters())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "INDEX_ABOVE", 20)
        nearest = nearest_products(products, search, question, k, restriction, query_products=np.array([], dtype=int))
    numbers = [product.number for product in nearest]
    assert len(nearest) == min(k, len(set(products.groups[passing])))
    assert passing[numbers].all()
    assert len(set(products.groups[numbers])) == len(nearest)
    if factory == "Flat" and nearest:
        assert nearest[0].score == pytest.approx(similarity[passing].max(), abs=1e-5)
