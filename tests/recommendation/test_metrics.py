"""The metrics of a table of recommendations."""

import numpy as np
import pytest
from helpers.shop import recommend, shop

from marketplace.recommendation.metrics import share_agreements, summary, table_metrics
from marketplace.recommendation.products import products_of
from marketplace.relevance.judgements import Judgements

NO_JUDGEMENTS = Judgements(questions=np.array([], str), candidates=np.array([], str), grades=np.array([], int))


def test_agreement_is_measured_without_shared_photos_and_titles() -> None:
    table, vectors = shop(n_products=30)
    products = products_of(table)
    recommended = recommend(products, vectors)
    leaf = products.table.set_index("product_id")["category_path"]
    hits = [
        leaf[row.product_id] == leaf[row.similar_product_id]
        for row in recommended.itertuples()
        if not row.same_photo and not row.same_text
    ]
    shares = share_agreements(products, recommended)["leaf_agreement"]
    assert shares.mean() == pytest.approx(np.mean(hits))
    assert shares.counts.sum() == len(hits)


def test_close_recommendations_are_counted_and_judged() -> None:
    table, vectors = shop(n_products=30)
    products = products_of(table)
    recommended = recommend(products, vectors)
    assert "three_close" not in table_metrics(products, recommended, NO_JUDGEMENTS)
    recommended["close"] = recommended["rank"] <= 3 + (recommended["product_id"] == "p00")
    in_test = products.table["product_id"][products.table["split"] == "test"]
    judged = recommended[recommended["product_id"].isin(in_test)].sort_values(["product_id", "similar_product_id"])
    grades = np.arange(len(judged)) % 3
    judgements = Judgements(
        questions=judged["product_id"].to_numpy(str),
        candidates=judged["similar_product_id"].to_numpy(str),
        grades=grades,
    )
    metrics = table_metrics(products, recommended, judgements)
    assert metrics["coverage"] == pytest.approx(recommended["similar_product_id"].nunique() / 30, abs=1e-5)
    assert metrics["three_close"] == pytest.approx((recommended.groupby("product_id").size() >= 3).mean(), abs=1e-5)
    assert metrics["close_precision"] == pytest.approx((grades[judged["close"]] == 2).mean(), abs=1e-5)


def test_the_summary_leads_with_judged_quality() -> None:
    judged = {"product": {"test": {"good_at_6": {"mean": 0.5}, "ndcg_at_8": {}}}, "photo": {"val": {}}}
    figures = summary(judged, {"accuracy": 0.7}, {"coverage": 0.9})
    assert list(figures.items()) == [("good_at_6", 0.5), ("coverage", 0.9), ("accuracy", 0.7)]
