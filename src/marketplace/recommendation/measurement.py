"""The measurements of a run that rank again: probabilities, and the agreement of categories."""

import logging
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa

from marketplace.recommendation.agreement import compare_categories, drop_shared_listings
from marketplace.recommendation.calibration import Calibration, fit_calibration
from marketplace.recommendation.catalogue import Catalogue
from marketplace.recommendation.judged import JudgedPairs, Kind
from marketplace.recommendation.metrics import share_agreements
from marketplace.recommendation.products import Products
from marketplace.recommendation.rankers import ExhaustiveRanker, Ranker
from marketplace.recommendation.rules import RecommendSettings
from marketplace.recommendation.table import recommendations
from marketplace.relevance.metrics import GOOD
from marketplace.relevance.uncertainty import Shares

log = logging.getLogger(__name__)
MAX_PRODUCTS = 3000  # of a split: the standard error of a share of 3,000 is at most 0.009
MIN_JUDGED = 200  # judged pairs of the validation split, from which on they are preferred to leaf categories


def calibrate(
    products: Products, ranker: Ranker, judged: dict[Kind, JudgedPairs], settings: RecommendSettings
) -> dict[str, Calibration]:
    """Calibrate the scores of each kind of question on the judgements of the validation split.

    Without enough judgements, the scores of products are calibrated by leaf categories, and others not at all.
    """
    calibrations = {kind: _calibrate_by_judgements(pairs, kind, settings) for kind, pairs in judged.items()}
    if calibrations["product"] is None:
        calibrations["product"] = _calibrate_by_leaves(products, ranker)
    return {kind: calibration for kind, calibration in calibrations.items() if calibration is not None}


def _calibrate_by_judgements(pairs: JudgedPairs, kind: Kind, settings: RecommendSettings) -> Calibration | None:
    in_validation = pairs.splits == "val"
    if in_validation.sum() < MIN_JUDGED:
        return None
    scores = pairs.scores(getattr(settings.weights, kind))[in_validation]
    return fit_calibration(scores, pairs.judgements.grades[in_validation] == GOOD)


def _calibrate_by_leaves(products: Products, ranker: Ranker) -> Calibration | None:
    log.info("few judgements: a recommendation is called close where leaf categories are likely to agree")
    recommended = drop_shared_listings(_rank_split(products, ranker, "val"))
    same_leaf = compare_categories(products, recommended, "category_path")
    return fit_calibration(recommended["score"].to_numpy(), same_leaf.to_numpy())


def measure_agreement(catalogue: Catalogue, settings: RecommendSettings) -> dict[str, Shares]:
    """Return how often the categories of products of the test split and of their recommendations agree, by product.

    The category path has no weight here: otherwise it would find itself.
    """
    weights = settings.weights.product.model_copy(update={"path": 0.0})
    if not any(weights.model_dump().values()):
        return {}
    vectors = catalogue.parts.weigh_symmetrically(weights)
    ranker = ExhaustiveRanker(catalogue.products, vectors, settings)
    return share_agreements(catalogue.products, _rank_split(catalogue.products, ranker, "test"))


def _rank_split(products: Products, ranker: Ranker, split: str) -> pd.DataFrame:
    """Return the recommendations for a split's products, or for MAX_PRODUCTS of them, evenly spread."""
    numbers = np.flatnonzero(products.table["split"] == split)
    if len(numbers) > MAX_PRODUCTS:
        numbers = numbers[np.linspace(0, len(numbers) - 1, MAX_PRODUCTS).round().astype(int)]
    batches: Iterator[pa.RecordBatch] = recommendations(products, ranker, numbers)
    return pd.concat([batch.to_pandas() for batch in batches], ignore_index=True)
