"""Metrics of a table of recommendations, and the summary of all metrics."""

import logging
from collections.abc import Mapping
from typing import Any

import pandas as pd

from marketplace.common.metrics import round_metrics
from marketplace.recommendation.agreement import compare_categories, drop_shared_listings
from marketplace.recommendation.judged import METRICS
from marketplace.recommendation.products import Products
from marketplace.relevance.judgements import Judgements
from marketplace.relevance.metrics import GOOD
from marketplace.relevance.uncertainty import Shares

log = logging.getLogger(__name__)

CLOSE_ENOUGH = 3  # close recommendations that a product should have
AGREEMENTS = {"category_agreement": "category", "leaf_agreement": "category_path"}  # by the column that is compared
JUDGED_PREFIXES = {"product": "", "photo": "photo_", "words": "words_"}  # by the kind of question
EVALUATION_METRICS = (
    "same_product_recall_at_10",
    "same_product_recall_at_1",
    "leaf_precision_at_10",
    "category_precision_at_10",
    "product_accuracy",
    "accuracy",
    "macro_f1",
)


def share_agreements(products: Products, recommended: pd.DataFrame) -> dict[str, Shares]:
    """Return for each product the recommended ones in the same root category, and in the same leaf.

    Products that share a photo or a title with the product itself are not counted.
    """
    counted = drop_shared_listings(recommended)
    numbers = counted["product_id"].map(products.number_of).to_numpy(int)
    return {
        name: Shares.of(compare_categories(products, counted, column).to_numpy(float), numbers, len(products.table))
        for name, column in AGREEMENTS.items()
    }


def table_metrics(products: Products, recommended: pd.DataFrame, judgements: Judgements) -> dict[str, float]:
    """Return the metrics of a table of recommendations.

    Coverage is the share of products that are recommended. `three_close` is the share of products with at least three
    close recommendations. `close_precision` is the share of close recommendations that people call good, among the
    judged ones for products of the test split.
    """
    _warn_about_products_without_recommendations(products, recommended)
    ids = products.table["product_id"]
    metrics = {"coverage": recommended["similar_product_id"].nunique() / len(ids)}
    if recommended["close"].notna().any():
        close = recommended[recommended["close"].astype(bool)]
        metrics["three_close"] = float(has_three_close(ids, recommended).mean())
        in_test = close["product_id"].isin(ids[products.table["split"] == "test"])
        grades = pd.Series(judgements.grades, [judgements.questions, judgements.candidates], dtype=float)
        pairs = pd.MultiIndex.from_frame(close.loc[in_test, ["product_id", "similar_product_id"]])
        metrics["close_precision"] = float((grades.reindex(pairs).dropna() == GOOD).mean())
    return round_metrics(metrics)


def has_three_close(product_ids: "pd.Series[str]", recommended: pd.DataFrame) -> "pd.Series[bool]":
    """Return for each product id whether at least CLOSE_ENOUGH of its recommendations are close."""
    close = recommended[recommended["close"].astype(bool)]
    return close["product_id"].value_counts().reindex(product_ids, fill_value=0) >= CLOSE_ENOUGH


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


def summary(
    judged: Mapping[str, Any], evaluation: Mapping[str, Any], recommendation: Mapping[str, float]
) -> dict[str, float]:
    """Return the content of metrics/summary.json: the metrics to decide by, the most important first.

    First comes the quality that people judged, on the test split: of recommendations for a product, for one photo, and
    for words. Then come the metrics of the table, and the metrics of photos alone from `metrics/evaluate.json`. Metrics
    that could not be measured (recall, if no product has two photos) are left out.
    """
    quality = {}
    for kind, prefix in JUDGED_PREFIXES.items():
        figures = judged.get(kind, {}).get("test", {})
        for name in METRICS:
            if "mean" in figures.get(name, {}):
                quality[f"{prefix}{name}"] = figures[name]["mean"]
    of_photos = {name: float(evaluation[name]) for name in EVALUATION_METRICS if name in evaluation}
    return quality | dict(recommendation) | of_photos
