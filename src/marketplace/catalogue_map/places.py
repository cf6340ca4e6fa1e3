"""The places of products on the map: t-SNE of the vectors of their photos and words."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import replacing

log = logging.getLogger(__name__)
MAP = "data/map.parquet"
MOST_PLACES = 10_000  # more dots than that are a cloud on any screen
DIMENSIONS = 50  # that t-SNE starts from, as its authors advise
PERPLEXITY = 30  # about how many neighbours a product is kept near to
SEED = 42


def product_vectors(photos: pd.DataFrame, kinds: np.ndarray, texts: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The ids of products, in order, and their vectors `(P, k + t)`: photos and words, which count the same.

    `photos` is the training data, `kinds` `(N, k)` are the kind vectors of its photos, `texts` `(P, t)` those of the
    products' words, in the order of the ids.
    """
    numbers, ids = pd.factorize(photos["product_id"], sort=True)
    sums = np.zeros((len(ids), kinds.shape[1]))
    np.add.at(sums, numbers, np.nan_to_num(kinds))
    means = sums / np.bincount(numbers)[:, None]
    return ids.tolist(), np.hstack([means, np.nan_to_num(texts)])


def catalogue_map(ids: list[str], vectors: np.ndarray) -> pd.DataFrame:
    """product_id, x and y of every product, or of MOST_PLACES that are evenly spread: from -1 to 1.

    `vectors` `(P, d)` are those of the products. The places are those of t-SNE (van der Maaten & Hinton, 2008), which
    keeps neighbours together; distances between groups and directions mean nothing.
    """
    n = len(ids)
    shown = np.unique(np.linspace(0, n - 1, min(n, MOST_PLACES)).round().astype(int))
    if len(shown) < n:
        log.info("the map shows %s of %s products, evenly spread", f"{len(shown):,}", f"{n:,}")
    places = _places(vectors[shown])
    return pd.DataFrame({"product_id": np.array(ids)[shown], "x": places[:, 0], "y": places[:, 1]})


def _places(vectors: np.ndarray) -> np.ndarray:
    """Places `(P, 2) float32` from -1 to 1 of vectors `(P, d)`."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    n = len(vectors)
    if n < 4:  # too few to have neighbours
        return np.stack([np.linspace(-1, 1, n), np.zeros(n)], axis=1).astype(np.float32)
    main = PCA(min(DIMENSIONS, *vectors.shape), random_state=SEED).fit_transform(vectors)
    # From the two main components, as init="pca" does, but apart: where all are equal, scikit-learn crashes with that.
    start = np.random.default_rng(SEED).normal(scale=1e-6, size=(n, 2))
    start[:, : main.shape[1]] += 1e-4 * main[:, :2] / max(float(main[:, 0].std()), 1e-12)
    found = TSNE(init=start, perplexity=min(PERPLEXITY, (n - 1) / 3), random_state=SEED).fit_transform(main)
    centred = found - (found.max(axis=0) + found.min(axis=0)) / 2
    scaled: np.ndarray = (centred / max(float(np.abs(centred).max()), 1e-12)).astype(np.float32)
    return scaled


def write_map(path: Path, places: pd.DataFrame) -> None:
    """Write the map as Parquet."""
    with replacing(path) as part:
        places.to_parquet(part, index=False)
    log.info("%s products laid out: %s", f"{len(places):,}", path)


def read_map(root: Path) -> pd.DataFrame:
    """The map of the pipeline that has run in `root`. Raises MarketplaceError if there is none."""
    if not (root / MAP).exists():
        raise MarketplaceError(f"{root / MAP} is missing: run `dvc repro map`, or `dvc pull` to get it.")
    return pd.read_parquet(root / MAP)
