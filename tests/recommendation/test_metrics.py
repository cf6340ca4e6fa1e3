"""The metrics of a table of recommendations."""

import numpy as np
import pytest
from helpers.shop import recommend, shop

from marketplace.recommendation.metrics import recommendation_metrics
from marketplace.recommendation.products import products_of


def test_metrics_are_measured_on_test_products_without_shared_photos_and_titles() -> None:
    table, vectors = shop(n_products=30)
    products = products_of(table)
    recommended = recommend(products, vectors)
    by_id = products.table.set_index("product_id")
    hits = [
        by_id["category_path"][row.product_id] == by_id["category_path"][row.similar_product_id]
        for row in recommended.itertuples()
        if by_id["split"][row.product_id] == "test" and not row.same_photo and not row.same_text
    ]
    metrics = recommendation_metrics(products, recommended)
    assert metrics["leaf_precision"] == pytest.approx(np.mean(hits), abs=1e-5)
    assert metrics["coverage"] == pytest.approx(len(set(recommended["similar_product_id"])) / 30, abs=1e-5)
