"""The table of recommendations, compared with a search pair by pair."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from helpers.shop import ALL, recommend, shop
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketplace.catalogue.groups import photo_groups
from marketplace.recommendation import rankers
from marketplace.recommendation import table as table_module
from marketplace.recommendation.calibration import Calibration
from marketplace.recommendation.origin import Origin, origin_of
from marketplace.recommendation.products import products_of
from marketplace.recommendation.rules import RecommendSettings
from marketplace.recommendation.table import SCHEMA, add_probabilities, recommendations, write_recommendations
from marketplace.vectors import candidates


@dataclass(frozen=True)
class Answer:
    """The recommendations for a product, found pair by pair."""

    best_scores: list[float]
    scores: dict[str, float]  # of every product that may be listed


def search_pair_by_pair(table: pd.DataFrame, vectors: np.ndarray, settings: RecommendSettings) -> dict[str, Answer]:
    """Search the recommendations for every product, by its id."""
    vector_of = dict(zip(sorted(table["product_id"].unique()), vectors, strict=True))
    products = table.drop_duplicates("product_id").set_index("product_id").to_dict("index")
    linked = link_products(table)
    answers = {}
    for query in sorted(vector_of):
        scores = {
            other: float(vector_of[query] @ vector_of[other])
            for other in sorted(vector_of)
            if other != query and is_allowed(products[query], products[other], settings)
        }
        best: list[str] = []
        for other in sorted(scores, key=lambda name: (-scores[name], name)):
            if not any(other in linked[earlier] for earlier in best):
                best.append(other)
        answers[query] = Answer(best_scores=[scores[other] for other in best[: settings.k]], scores=scores)
    return answers


def link_products(table: pd.DataFrame) -> dict[str, set[str]]:
    """Return, for each product, all that share a photo or a title with it, directly or in a chain."""
    linked = {name: {name} for name in table["product_id"]}
    for column in ("sha256", "product_name"):
        for names in table.groupby(column)["product_id"].unique():
            group = set().union(*(linked[name] for name in names))
            for name in group:
                linked[name] = group
    return linked


def is_allowed(product: dict[str, Any], similar: dict[str, Any], settings: RecommendSettings) -> bool:
    """Return whether `similar` may be recommended for `product`."""
    if settings.same_category and similar["category"] != product["category"]:
        return False
    if settings.same_location and similar["location"] != product["location"]:
        return False
    if settings.price_factor is None:
        return True
    price = float(product["price"])
    return price / settings.price_factor <= float(similar["price"]) <= price * settings.price_factor


@given(
    seed=st.integers(0, 10_000),
    n_products=st.integers(1, 14),
    category=st.booleans(),
    location=st.booleans(),
    factor=st.sampled_from([None, 1.0, 2.0]),
    k=st.integers(1, 20),
)
@hypothesis_settings(deadline=None)
def test_every_product_gets_the_results_of_a_search_pair_by_pair(
    seed: int, n_products: int, category: bool, location: bool, factor: float | None, k: int
) -> None:
    table, vectors = shop(seed, n_products)
    settings = ALL.model_copy(
        update={"k": k, "same_category": category, "same_location": location, "price_factor": factor}
    )
    recommended = recommend(products_of(table), vectors, settings)
    linked = link_products(table)
    titles = table.drop_duplicates("product_id").set_index("product_id")["product_name"]
    for query, answer in search_pair_by_pair(table, vectors, settings).items():
        rows = recommended[recommended["product_id"] == query]
        names = rows["similar_product_id"].tolist()
        # By score, not by name: which of two equal ones comes first is a matter of rounding.
        np.testing.assert_allclose(rows["score"], answer.best_scores, atol=1e-5)
        np.testing.assert_allclose(rows["score"], [answer.scores[name] for name in names], atol=1e-5)
        assert len({frozenset(linked[name]) for name in names}) == len(names)
        assert rows["same_text"].tolist() == [titles[name] == titles[query] for name in names]
        assert rows["rank"].tolist() == list(range(1, len(rows) + 1))


def test_the_size_of_a_block_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    table, vectors = shop(n_products=40)
    products = products_of(table)
    in_one_block = recommend(products, vectors)
    monkeypatch.setattr(table_module, "SIMILARITIES_AT_ONCE", 1)  # one product after the other
    assert len(list(recommendations(products, rankers.create_ranker(products, vectors, ALL)))) == 40
    pd.testing.assert_frame_equal(recommend(products, vectors), in_one_block, rtol=1e-5)


@pytest.mark.parametrize("filters", [{}, {"same_category": True}, {"price_factor": 1.5}])
def test_candidates_of_an_index_give_nearly_the_results_of_comparing_all(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, filters: dict[str, object]
) -> None:
    table, vectors = shop(n_products=300)
    products = products_of(table)
    settings = ALL.model_copy(update=filters)
    exact = recommend(products, vectors, settings)
    caplog.set_level("INFO", "marketplace")
    monkeypatch.setattr(rankers, "EXHAUSTIVE_UP_TO_PRODUCTS", 0)
    monkeypatch.setattr(candidates, "LIST_DIVISOR", 3)
    recommended = recommend(products, vectors, settings)
    assert "300 products: an index finds candidates, and " in caplog.text
    both = recommended.merge(exact, on=["product_id", "similar_product_id"], suffixes=("", "_exact"))
    assert len(both) / len(exact) > 0.9
    assert len(recommended) == len(exact)  # however few products pass the filters, all of them are listed
    np.testing.assert_allclose(both["score"], both["score_exact"], atol=1e-5)
    for column in ("same_photo", "same_text"):
        assert (both[column] == both[f"{column}_exact"]).all()
    if "same_category" in filters:
        category = table.drop_duplicates("product_id").set_index("product_id")["category"]
        own = category[recommended["product_id"]].to_numpy()
        assert (own == category[recommended["similar_product_id"]].to_numpy()).all()


def test_products_that_share_a_photo_are_marked_and_listed_once() -> None:
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
    products = products_of(table)
    recommended = recommend(products, vectors)
    for_a = recommended[recommended["product_id"] == "a"]
    assert for_a["similar_product_id"].tolist() == ["b", "d", "f"]
    assert for_a["same_photo"].tolist() == [True, False, False]
    np.testing.assert_allclose(for_a["score"], [1, 0.8, 0.6], rtol=1e-6)


def test_listings_with_the_same_title_are_listed_once_and_marked() -> None:
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
    recommended = recommend(products_of(table), vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    for_a = recommended[recommended["product_id"] == "a"].set_index("similar_product_id")
    for_c = recommended[recommended["product_id"] == "c"]
    assert set(for_c["similar_product_id"]) == {"a", "d", "e"}  # only one of a and b; no title is not the same title
    assert for_a["same_text"].to_dict() == {"b": True, "c": False, "d": False, "e": False}


@pytest.mark.parametrize(
    ("calibrations", "same_item_cosine"),
    [({}, 0.95), ({"product": Calibration(scores=[-0.5, 0.5], probabilities=[0.1, 0.9])}, 0.75)],
)
def test_the_table_is_written_with_its_types_and_origin(
    tmp_path: Path, calibrations: dict[str, Calibration], same_item_cosine: float
) -> None:
    table, vectors = shop()
    path = tmp_path / "recommendations.parquet"
    products = products_of(table)
    origin = Origin(
        made_with={"a": "b"},
        settings=ALL,
        calibrations=calibrations,
        same_item_cosine=same_item_cosine,
        dimensions={"kind": 6},
    )
    write_recommendations(path, recommendations(products, rankers.create_ranker(products, vectors, ALL)), origin)
    assert pq.read_schema(path).equals(SCHEMA)
    assert origin_of(path) == origin
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_probabilities_are_filled_in_and_improbable_products_left_out() -> None:
    table, vectors = shop(n_products=40)
    products = products_of(table)
    calibration = Calibration(scores=[-1, 1], probabilities=[0, 1])
    everything = recommend(products, vectors)

    def add(least_probability: float | None) -> pd.DataFrame:
        batches = recommendations(products, rankers.create_ranker(products, vectors, ALL))
        filled = add_probabilities(batches, calibration, least_probability)
        return pd.concat([batch.to_pandas() for batch in filled], ignore_index=True)

    whole = add(None)
    assert len(whole) == len(everything)
    shared = whole["same_photo"] | whole["same_text"]
    np.testing.assert_allclose(whole["probability"], (whole["score"] + 1) / 2, atol=1e-6)
    assert (whole["close"] == (shared | (whole["score"] >= 0))).all()

    probable = add(0.8)
    expected = whole[shared | (whole["probability"] >= 0.8)]
    assert probable["similar_product_id"].tolist() == expected["similar_product_id"].tolist()
    assert 0 < len(probable) < len(whole)
    for _, ranks in probable.groupby("product_id")["rank"]:
        assert ranks.tolist() == list(range(1, len(ranks) + 1))
