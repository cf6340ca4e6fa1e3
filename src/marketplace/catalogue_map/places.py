"""The places of products on the map: t-SNE of their photos' kind vectors and their text vectors."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from marketplace.common.damage import reading
from marketplace.common.errors import MarketplaceError
from marketplace.common.files import replacing

log = logging.getLogger(__name__)
MAP = "data/map.parquet"
MAX_PLACES = 10_000  # more dots are a cloud on any screen
PCA_DIMENSIONS = 50  # before t-SNE, as its authors recommend
PERPLEXITY = 30  # roughly the number of neighbours that a product is kept close to
SEED = 42


def product_vectors(photos: pd.DataFrame, kinds: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Return the vectors `(P, k + t)` of products, in the order of their ids: photos and words, which count the same.

    `photos` is the training data, `kinds` `(N, k)` are the kind vectors of its photos, and `texts` `(P, t)` the text
    vectors of the products, in the order of their ids.
    """
    numbers, ids = pd.factorize(photos["product_id"], sort=True)
    sums = np.zeros((len(ids), kinds.shape[1]))
    np.add.at(sums, numbers, np.nan_to_num(kinds))
    means = sums / np.bincount(numbers)[:, None]
    return np.hstack([means, np.nan_to_num(texts)])


def lay_out(product_ids: list[str], vectors: np.ndarray) -> pd.DataFrame:
    """Return product_id, x and y of all products, or of MAX_PLACES that are evenly spread; x and y are from -1 to 1.

    `vectors` `(P, d)` are the products'. t-SNE (van der Maaten & Hinton, 2008) keeps neighbours together; distances
    between groups and directions mean nothing.
    """
    n = len(product_ids)
    selected = np.unique(np.linspace(0, n - 1, min(n, MAX_PLACES)).round().astype(int))
    if len(selected) < n:
        log.info("the map shows %s of %s products, evenly spread", f"{len(selected):,}", f"{n:,}")
    places = _compute_places(vectors[selected])
    return pd.DataFrame({"product_id": np.array(product_ids)[selected], "x": places[:, 0], "y": places[:, 1]})


def _compute_places(vectors: np.ndarray) -> np.ndarray:
    """Return places `(P, 2) float32`, from -1 to 1, of vectors `(P, d)`."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    n = len(vectors)
    if n < 4:  # too few to have neighbours
        return np.stack([np.linspace(-1, 1, n), np.zeros(n)], axis=1).astype(np.float32)
    with np.errstate(invalid="ignore"):  # equal vectors have no variance, so its shares are 0 / 0
        components = PCA(min(PCA_DIMENSIONS, *vectors.shape), random_state=SEED).fit_transform(vectors)
    # Like init="pca", from the first two components, but slightly scattered: scikit-learn crashes if all are equal.
    start = np.random.default_rng(SEED).normal(scale=1e-6, size=(n, 2))
    start[:, : components.shape[1]] += 1e-4 * components[:, :2] / max(float(components[:, 0].std()), 1e-12)
    tsne = TSNE(init=start, perplexity=min(PERPLEXITY, (n - 1) / 3), random_state=SEED)
    places = tsne.fit_transform(components)
    centred = places - (places.max(axis=0) + places.min(axis=0)) / 2
    return (centred / max(float(np.abs(centred).max()), 1e-12)).astype(np.float32)


def write_map(path: Path, places: pd.DataFrame) -> None:
    """Write the map as Parquet."""
    with replacing(path) as part:
        places.to_parquet(part, index=False)
    log.info("%s: the places of %s products", path, f"{len(places):,}")


def read_map(root: Path) -> pd.DataFrame:
    """Return the map of the pipeline in `root`. Raises MarketplaceError if there is none."""
    if not (root / MAP).exists():
        raise MarketplaceError(f"{root / MAP} is missing: run `dvc repro map`, or `dvc pull` to get it.")
    with reading(root / MAP):
        return pd.read_parquet(root / MAP)
