"""The figures that decide, the most important first: what `dvc exp show`, `dvc metrics diff` and a review look at."""

from collections.abc import Mapping
from typing import Any

FROM_EVALUATION = (
    "same_product_recall_at_10",
    "same_product_recall_at_1",
    "leaf_precision_at_10",
    "category_precision_at_10",
    "accuracy",
    "macro_f1",
)


def summary(evaluation: Mapping[str, Any], recommendation: Mapping[str, float]) -> dict[str, float]:
    """The figures of photos from `metrics/evaluate.json`, then those of products from `recommendation_metrics`.

    What could not be measured (recall, where no product has two photos) is left out.
    """
    photos = {name: float(evaluation[name]) for name in FROM_EVALUATION if name in evaluation}
    names = {"recommended_leaf_precision": "leaf_precision", "coverage": "coverage"}
    products = {name: recommendation[key] for name, key in names.items() if key in recommendation}
    return photos | products
