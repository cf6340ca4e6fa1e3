from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.shop import ALL, shop
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketplace.catalogue.groups import photo_groups
from marketplace.recommendation import ranking
from marketplace.recommendation import table as table_module
from marketplace.recommendation.filters import Filters
from marketplace.recommendation.fingerprints import Origin, origin_of
from marketplace.recommendation.gallery import write_gallery
from marketplace.recommendation.index import build_index
from marketplace.recommendation.metrics import recommendation_metrics
from marketplace.recommendation.products import Products, products_of
from marketplace.recommendation.ranking import (
    IndexSearch,
    Restriction,
    nearest_products,
    segment_max,
    with_words,
)
from marketplace.recommendation.rules import RecommendSettings
from marketplace.recommendation.table import SCHEMA, recommendations, write_recommendations
from marketplace.vectors import candidates


def recommended(products: Products, vectors: np.ndarray, settings: RecommendSettings) -> pd.DataFrame:
    return together(recommendations(products, vectors, settings))


def together(batches: Iterable[pa.RecordBatch]) -> pd.DataFrame:
    return pd.concat((batch.to_pandas() for batch in batches), ignore_index=True)


Answer = tuple[list[float], dict[str, float], dict[str, set[str]]]


def by_hand(table: pd.DataFrame, vectors: np.ndarray, settings: RecommendSettings) -> dict[str, Answer]:
    """Product by product and pair by pair: the best scores, those of all that may be listed, and who shares photos."""
    photos = {name: group.index.to_numpy() for name, group in table.groupby("product_id")}
    facts = table.drop_duplicates("product_id").set_index("product_id")
    linked = {name: {name} for name in photos}
    links = [*table.groupby("sha256")["product_id"].unique(), *table.groupby("product_name")["product_id"].unique()]
    for names in links:
        together = set().union(*(linked[name] for name in names))
        for name in together:
            linked[name] = together
    answers: dict[str, Answer] = {}
    for query in sorted(photos):
        scores = {}
        for other in sorted(photos):
            factor, price, theirs = settings.price_factor, *(float(facts["price"][name]) for name in (query, other))
            if (
                other != query
                and (not settings.same_category or facts["category"][other] == facts["category"][query])
                and (not settings.same_location or facts["location"][other] == facts["location"][query])
                and (factor is None or price / factor <= theirs <= price * factor)
            ):
                scores[other] = float(max(vectors[a] @ vectors[b] for a in photos[query] for b in photos[other]))
        answer: list[str] = []
        for other in sorted(scores, key=lambda name: (-scores[name], name)):
            if not any(other in linked[earlier] for earlier in answer):
                answer.append(other)
        answers[query] = [scores[other] for other in answer[: settings.k]], scores, linked
    return answers


@given(
    st.integers(0, 10_000),
    st.integers(1, 14),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, 1.0, 2.0]),
    st.integers(1, 20),
)
@hypothesis_settings(deadline=None)
def test_every_product_gets_what_a_search_pair_by_pair_finds(
    seed: int, n: int, category: bool, location: bool, factor: float | None, k: int
) -> None:
    table, vectors = shop(seed, n)
    settings = ALL.model_copy(
        update={"k": k, "same_category": category, "same_location": location, "price_factor": factor}
    )
    found = recommended(products_of(table), vectors, settings)
    listed = {str(name): rows for name, rows in found.groupby("product_id")}
    for query, (best, scores, linked) in by_hand(table, vectors, settings).items():
        rows = listed.get(query, found.iloc[:0])
        names = rows["similar_product_id"].tolist()
        # By score, not by name: which of two equal ones comes first is a matter of rounding.
        np.testing.assert_allclose(rows["score"], best, atol=1e-5)
        np.testing.assert_allclose(rows["score"], [scores[name] for name in names], atol=1e-5)
        assert len({frozenset(linked[name]) for name in names}) == len(names)
        titles = table.drop_duplicates("product_id").set_index("product_id")["product_name"]
        assert rows["same_text"].tolist() == [titles[name] == titles[query] for name in names]
        assert rows["rank"].tolist() == list(range(1, len(rows) + 1))


def test_it_makes_no_difference_how_many_products_are_compared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    table, vectors = shop(n_products=40)
    products = products_of(table)
    at_once = recommended(products, vectors, ALL)
    monkeypatch.setattr(table_module, "SIMILARITIES_AT_ONCE", 1)  # one product after the other
    one_by_one = list(recommendations(products, vectors, ALL))
    assert len(one_by_one) == 40
    pd.testing.assert_frame_equal(together(one_by_one), at_once, rtol=1e-5)


@pytest.mark.parametrize("filters", [{}, {"same_category": True}, {"price_factor": 1.5}])
def test_candidates_of_an_index_give_what_comparing_all_gives(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, filters: dict[str, object]
) -> None:
    table, vectors = shop(n_products=300)
    products, settings = products_of(table), ALL.model_copy(update=filters)
    exact = recommended(products, vectors, settings)
    caplog.set_level("INFO", "marketplace")
    monkeypatch.setattr(table_module, "EXHAUSTIVE_UP_TO_PHOTOS", 0)
    monkeypatch.setattr(candidates, "LIST_DIVISOR", 3)
    found = recommended(products, vectors, settings)
    assert "300 products: an index finds candidates, and " in caplog.text
    both = found.merge(exact, on=["product_id", "similar_product_id"], suffixes=("", "_exact"))
    assert len(both) / len(exact) > 0.9
    assert len(found) == len(exact)  # what the filters leave is found, however little
    np.testing.assert_allclose(both["score"], both["score_exact"], atol=1e-5)
    for column in ("same_photo", "same_text"):
        assert (both[column] == both[f"{column}_exact"]).all()
    category = table.drop_duplicates("product_id").set_index("product_id")["category"]
    if "same_category" in filters:
        assert (category[found["product_id"]].to_numpy() == category[found["similar_product_id"]].to_numpy()).all()


@given(counts=st.lists(st.integers(1, 5), min_size=1, max_size=8), seed=st.integers(0, 2**32 - 1))
def test_the_highest_of_each_group_of_rows_is_what_numpy_finds(counts: list[int], seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(sum(counts), 3)).astype(np.float32)
    starts = np.cumsum([0, *counts[:-1]])
    np.testing.assert_array_equal(segment_max(values, starts), np.maximum.reduceat(values, starts, axis=0))


def test_who_shares_a_photo_is_marked_and_listed_once() -> None:
    rows = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "2"), ("e", "2"), ("f", "3")]
    table = pd.DataFrame(rows, columns=["product_id", "sha256"]).assign(
        image_id="",
        product_name="",
        product_description="",
        category="c",
        category_path="c",
        price=Decimal(1),
        currency="£",
        location="",
        split="test",
    )
    table["group"] = photo_groups(table["product_id"], table["sha256"])
    vectors = np.array([[1, 0], [1, 0], [1, 0], [0.8, 0.6], [0.8, 0.6], [0.6, 0.8]], dtype=np.float32)
    found = recommended(products_of(table), vectors, ALL)
    rows_of_a = found[found["product_id"] == "a"]
    assert rows_of_a["similar_product_id"].tolist() == ["b", "d", "f"]
    assert rows_of_a["same_photo"].tolist() == [True, False, False]
    np.testing.assert_allclose(rows_of_a["score"], [1, 0.8, 0.6], rtol=1e-6)
    figures = recommendation_metrics(products_of(table), found)
    assert figures["category_precision"] == 1.0


def test_the_figures_are_those_of_test_products_and_leave_shared_photos_out() -> None:
    table, vectors = shop(n_products=30)
    products = products_of(table)
    found = recommended(products, vectors, ALL)
    facts = products.table.set_index("product_id")
    hits = [
        facts["category_path"][row.product_id] == facts["category_path"][row.similar_product_id]
        for row in found.itertuples()
        if facts["split"][row.product_id] == "test" and not row.same_photo and not row.same_text
    ]
    figures = recommendation_metrics(products, found)
    assert figures["leaf_precision"] == pytest.approx(np.mean(hits), abs=1e-5)
    assert figures["coverage"] == pytest.approx(len(set(found["similar_product_id"])) / 30, abs=1e-5)


def test_the_table_is_written_with_its_types(tmp_path: Path) -> None:
    table, vectors = shop()
    path = tmp_path / "recommendations.parquet"
    products = products_of(table)
    write_recommendations(path, products, recommendations(products, vectors, ALL), words=0.5)
    assert pq.read_schema(path).equals(SCHEMA)
    assert origin_of(path) == Origin(words=0.5, made_with={}, close=None)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_texts_of_products_are_only_text_in_a_gallery(tmp_path: Path) -> None:
    table, vectors = shop()
    table["product_name"] = "<script>alert(1)</script>"
    products = products_of(table)
    images = np.zeros((len(table), 8, 8, 3), np.uint8)
    figures = {"accuracy": 0.5, "leaf_precision_at_10": 0.5}
    recommend = {"coverage": 1.0, "category_precision": 0.5, "leaf_precision": 0.5}
    metrics = {**figures, "untouched_projected": figures, "recommend": recommend}
    write_gallery(tmp_path / "gallery.html", products, recommended(products, vectors, ALL), images, metrics)
    page = (tmp_path / "gallery.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_products_know_their_photos() -> None:
    table, _ = shop()
    products = products_of(table)
    assert products.table["product_id"].tolist() == sorted(set(table["product_id"]))
    for number, product_id in enumerate(products.table["product_id"]):
        rows = np.flatnonzero(table["product_id"] == product_id)
        assert products.photos_of(number).tolist() == rows.tolist()
        assert (products.product_of_row[rows] == number).all()


@given(words=st.floats(0, 1), seed=st.integers(0, 100))
def test_one_inner_product_compares_photos_and_words(words: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds, texts = rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=(4, 2)).astype(np.float32)
    both = with_words(kinds, texts, words)
    np.testing.assert_allclose(
        both @ both.T, (1 - words) * kinds @ kinds.T + words * texts @ texts.T, rtol=1e-4, atol=1e-4
    )


def test_listings_with_one_title_are_listed_once_and_marked() -> None:
    rows = [("a", "Oak table"), ("b", "oak  TABLE"), ("c", "Pine table"), ("d", ""), ("e", "")]
    table = pd.DataFrame(rows, columns=["product_id", "product_name"]).assign(
        product_description="",
        image_id="",
        sha256=list("12345"),
        category="c",
        category_path="c",
        price=None,
        currency="£",
        location="",
        split="test",
    )
    table["group"] = np.arange(5)
    vectors = np.eye(5, dtype=np.float32) + 1
    found = recommended(products_of(table), vectors / np.linalg.norm(vectors, axis=1, keepdims=True), ALL)
    of_c, of_a = (found[found["product_id"] == name] for name in "ca")
    assert set(of_c["similar_product_id"]) == {"a", "d", "e"}  # of a and b, one; two without a title are not alike
    assert of_a.set_index("similar_product_id")["same_text"].to_dict() == {
        "b": True,
        "c": False,
        "d": False,
        "e": False,
    }


@pytest.fixture(scope="module")
def large_shop() -> tuple[Products, np.ndarray]:
    table, vectors = shop(seed=5, n_products=400)
    return products_of(table), vectors


INDEXES = [
    ("Flat", None),
    ("HNSW16", "efSearch=8"),
    ("IVF32,SQ8", "nprobe=1"),
    ("IVF32,SQ8", "nprobe=4"),
    ("IVF16,PQ3x4fs,Refine(SQ8)", "nprobe=1"),
    ("SQ8", None),
]


@pytest.mark.parametrize(("factory", "parameters"), INDEXES)
@given(seed=st.integers(0, 10_000), share=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]), k=st.integers(1, 40))
@hypothesis_settings(max_examples=30, deadline=None)
def test_every_index_gives_as_many_products_as_pass_the_filters(
    large_shop: tuple[Products, np.ndarray], factory: str, parameters: str | None, seed: int, share: float, k: int
) -> None:
    """Also where the passing rows lie in lists that an approximate index does not look at."""
    products, vectors = large_shop
    index = build_index(vectors, factory, parameters)
    rng = np.random.default_rng(seed)
    # Those that are least like the question: the worst that a filter can do.
    question = vectors[products.photos_of(int(rng.integers(len(products.table))))]
    farness = (question @ vectors.T).max(axis=0)
    worst = np.full(len(products.table), -np.inf)
    np.maximum.at(worst, products.product_of_row, farness)
    passing = worst <= np.quantile(worst, share) if share else np.zeros(len(worst), dtype=bool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "INDEX_ABOVE", 20)
        search, wanted = IndexSearch(lambda: index, vectors, products), Restriction(passing, Filters())
        found = nearest_products(products, search, question, k, wanted, np.array([], dtype=int))
    numbers = [ranked.number for ranked in found]
    assert len(found) == min(k, len(set(products.groups[passing])))
    assert passing[numbers].all()
    assert len(set(products.groups[numbers])) == len(found)
    if factory == "Flat":
        expected = sorted((worst[passing]).tolist(), reverse=True)
        assert found == [] or found[0].score == pytest.approx(expected[0], abs=1e-5)
