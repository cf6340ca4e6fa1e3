"""Metrics of a table of recommendations, the summary of all metrics, and the products that a review tracks."""

import hashlib
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from marketplace.recommendation.products import Products

log = logging.getLogger(__name__)

N_TRACKED = 50  # products whose recommendations are kept in Git
PRECISIONS = ("category_precision", "leaf_precision")
EVALUATION_METRICS = (
    "same_product_recall_at_10",
    "same_product_recall_at_1",
    "leaf_precision_at_10",
    "category_precision_at_10",
    "accuracy",
    "macro_f1",
)


def recommendation_metrics(products: Products, recommended: pd.DataFrame) -> dict[str, float]:
    """Return the metrics of a table of recommendations on the products of the test split.

    Precision is the share of recommended products in the same root category, or in the same leaf; products that share a
    photo or a title with the product itself are not counted. Coverage is the share of products that are recommended.
    """
    _warn_about_products_without_recommendations(products, recommended)
    by_id = products.table.set_index("product_id")
    counted = ~recommended["same_photo"] & ~recommended["same_text"]
    tested = recommended[recommended["product_id"].map(by_id["split"]).eq("test") & counted]
    metrics = {}
    for name, column in (("category_precision", "category"), ("leaf_precision", "category_path")):
        own = tested["product_id"].map(by_id[column])
        recommended_value = tested["similar_product_id"].map(by_id[column])
        metrics[name] = (own == recommended_value).mean()
    metrics["coverage"] = recommended["similar_product_id"].nunique() / len(by_id)
    return {name: round(float(value), 5) for name, value in metrics.items() if np.isfinite(value)}


def _warn_about_products_without_recommendations(products: Products, recommended: pd.DataFrame) -> None:
    product_ids = products.table["product_id"]
    alone = product_ids[~product_ids.isin(recommended["product_id"])]
    if len(alone):
        log.warning(
            "%d products get no recommendations, such as %r: no other product passes recommend's filters, or their "
            "vectors are zeros or not numbers",
            len(alone),
            alone.iloc[0],
        )


def summary(evaluation: Mapping[str, Any], recommendation: Mapping[str, float]) -> dict[str, float]:
    """Return the content of metrics/summary.json: the metrics to decide by, the most important first.

    The precision of the recommendations (photos and words), which shoppers see, comes first; then come the metrics of
    photos alone from `metrics/evaluate.json`. Metrics that could not be measured (recall, if no product has two photos)
    are left out.
    """
    precisions = {f"recommended_{name}": recommendation[name] for name in PRECISIONS if name in recommendation}
    of_photos = {name: float(evaluation[name]) for name in EVALUATION_METRICS if name in evaluation}
    return precisions | of_photos | {"coverage": recommendation["coverage"]}


def select_tracked_products(products: Products, recommended: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the recommendations of a fixed sample of products, small enough for Git: reviews compare them.

    The sample has the products with the lowest hashes of ids: they stay the same while others come and go.
    """
    table = products.table.set_index("product_id")
    sample = sorted(table.index, key=lambda product_id: hashlib.sha256(product_id.encode()).digest())[:N_TRACKED]
    similar = recommended.groupby("product_id")["similar_product_id"].agg(list)
    return [
        {
            "product_id": product_id,
            "name": table["product_name"][product_id],
            "category": table["category"][product_id],
            "similar": similar.get(product_id, []),
        }
        for product_id in sample
    ]
