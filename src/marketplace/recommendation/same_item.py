"""The cosine of identity vectors from which on two photos show the same item, learned from photos of known products."""

import logging
from dataclasses import dataclass

import numpy as np

from marketplace.recommendation.calibration import MIN_PAIRS
from marketplace.recommendation.catalogue import Catalogue

log = logging.getLogger(__name__)

PRECISION = 0.8  # of the photos that are said to show the same item
COPY_COSINE = 0.95  # of a photo and the same one in another size or format, or closer
MAX_PHOTOS = 1500  # of a split, evenly spread; each is asked about twice
BLOCK = 256  # photos that are compared with all others at once


@dataclass(frozen=True)
class NearestPhotos:
    """For photos of a split, the nearest photo with and without the rest of their own product in the catalogue.

    A shopper's photo may show an item that is for sale, or one that is not: both are counted equally often.
    """

    cosines: np.ndarray  # (2n,) float32
    same: np.ndarray  # (2n,) bool, whether that photo shows the same product

    @property
    def n_for_sale(self) -> int:
        """The number of questions whose product has another photo in the catalogue."""
        return len(self.same) // 2


def find_nearest_photos(catalogue: Catalogue, split: str) -> NearestPhotos:
    """Find the nearest photo of each photo in a split, among products with several photos.

    Other listings that share a photo or a title with the product are not compared: nobody knows whether they sell the
    same item.
    """
    products = catalogue.products
    owners = products.product_of_row
    groups = products.groups[owners]
    in_split = products.table["split"].to_numpy()[owners] == split
    has_others = (products.ends - products.starts)[owners] > 1
    rows = np.flatnonzero(in_split & has_others)
    if len(rows) > MAX_PHOTOS:
        rows = rows[np.linspace(0, len(rows) - 1, MAX_PHOTOS).round().astype(int)]
    vectors = catalogue.vectors.identity
    usable = np.concatenate(
        [np.isfinite(part).all(axis=1) for part in np.array_split(vectors, len(vectors) // BLOCK + 1)]
    )
    own_best = np.empty(len(rows), np.float32)
    other_best = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        with np.errstate(invalid="ignore"):
            cosines = np.where(usable[block, None] & usable, vectors[block] @ vectors.T, 0)
        is_own = owners[None, :] == owners[block, None]
        is_own[np.arange(len(block)), block] = False
        own_best[start : start + BLOCK] = np.where(is_own, cosines, -np.inf).max(axis=1)
        is_other = groups[None, :] != groups[block, None]
        other_best[start : start + BLOCK] = np.where(is_other, cosines, -np.inf).max(axis=1)
    return NearestPhotos(
        cosines=np.concatenate([np.maximum(own_best, other_best), other_best]),
        same=np.concatenate([own_best > other_best, np.zeros(len(rows), dtype=bool)]),
    )


def fit_same_item_cosine(nearest: NearestPhotos) -> float:
    """Return the lowest cosine above which at least PRECISION of the nearest photos show the same product.

    It is COPY_COSINE if there is no lower one, or if there are too few photos to tell.
    """
    if len(nearest.same) < MIN_PAIRS:
        return COPY_COSINE
    order = np.argsort(-nearest.cosines, kind="stable")
    precision = np.cumsum(nearest.same[order]) / np.arange(1, len(order) + 1)
    precise = np.flatnonzero(precision >= PRECISION)
    return min(COPY_COSINE, float(nearest.cosines[order[precise[-1]]])) if len(precise) else COPY_COSINE


def measure_same_item(nearest: NearestPhotos, cosine: float) -> tuple[float, float]:
    """Return the precision of a cosine, and its recall: the share of the items for sale that are found.

    NaN for a share of nothing.
    """
    above = nearest.cosines >= cosine
    n_found = float((above & nearest.same).sum())
    precision = n_found / above.sum() if above.any() else np.nan
    recall = n_found / nearest.n_for_sale if nearest.n_for_sale else np.nan
    return precision, recall


def log_same_item(nearest: NearestPhotos, cosine: float) -> None:
    """Log how good a cosine is on photos that did not choose it."""
    precision, recall = measure_same_item(nearest, cosine)
    log.info(
        "photos show the same item from a cosine of %.3f: %.3f of those in the test split do, %.3f of items found",
        cosine,
        precision,
        recall,
    )
