"""The metrics of a table of recommendations, the summary that decides, and the products that a review tracks."""

import hashlib
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from marketplace.recommendation.products import Products

log = logging.getLogger(__name__)

TRACKED = 50  # products whose recommendations are kept in Git
SEEN = ("category_precision", "leaf_precision")
FROM_EVALUATION = (
    "same_product_recall_at_10",
    "same_product_recall_at_1",
    "leaf_precision_at_10",
    "category_precision_at_10",
    "accuracy",
    "macro_f1",
)


def recommendation_metrics(products: Products, recommended: pd.DataFrame) -> dict[str, float]:
    """The metrics of a table of recommendations on the products of the test split.

    Precision is the share of recommended products of the same root category, or of the same leaf; products that share a
    photo or a title with the one asked about are not counted. Coverage is the share of products that are recommended.
    """
    _warn_of_products_left_out(products, recommended)
    by_id = products.table.set_index("product_id")
    counted = ~recommended["same_photo"] & ~recommended["same_text"]
    tested = recommended[recommended["product_id"].map(by_id["split"]).eq("test") & counted]
    figures = {
        name: (tested["product_id"].map(by_id[column]) == tested["similar_product_id"].map(by_id[column])).mean()
        for name, column in (("category_precision", "category"), ("leaf_precision", "category_path"))
    }
    figures["coverage"] = recommended["similar_product_id"].nunique() / len(by_id)
    return {name: round(float(value), 5) for name, value in figures.items() if np.isfinite(value)}


def _warn_of_products_left_out(products: Products, recommended: pd.DataFrame) -> None:
    """Say how many products got no recommendations at all."""
    alone = products.table["product_id"][~products.table["product_id"].isin(recommended["product_id"])]
    if len(alone):
        log.warning(
            "%d products get no recommendations, such as %r: no other product passes recommend's filters, or their "
            "vectors are zeros or not numbers",
            len(alone),
            alone.iloc[0],
        )


def summary(evaluation: Mapping[str, Any], recommendation: Mapping[str, float]) -> dict[str, float]:
    """The metrics that decide, the most important first: the content of metrics/summary.json.

    First what a shopper sees, the precision of the recommendations (photos and words); then the metrics of photos alone
    in `metrics/evaluate.json`. What could not be measured (recall, if no product has two photos) is left out.
    """
    seen = {f"recommended_{name}": recommendation[name] for name in SEEN if name in recommendation}
    photos = {name: float(evaluation[name]) for name in FROM_EVALUATION if name in evaluation}
    return seen | photos | {"coverage": recommendation["coverage"]}


def tracked_products(products: Products, recommended: pd.DataFrame) -> list[dict[str, Any]]:
    """The recommendations of a fixed handful of products, small enough for Git: a review compares them over commits.

    The products are those whose ids hash lowest: they stay the same while others come and go.
    """
    table = products.table.set_index("product_id")
    chosen = sorted(table.index, key=lambda product_id: hashlib.sha256(product_id.encode()).digest())[:TRACKED]
    similar = recommended.groupby("product_id")["similar_product_id"].agg(list)
    return [
        {
            "product_id": product_id,
            "name": table["product_name"][product_id],
            "category": table["category"][product_id],
            "similar": similar.get(product_id, []),
        }
        for product_id in chosen
    ]
