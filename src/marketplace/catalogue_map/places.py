"""The places of products on the map: t-SNE of their photos' kind vectors and their text vectors."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from marketplace.common.damage import reading
from marketplace.common.errors import MarketplaceError
from marketplace.common.files import replacing, sha256_of

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


def write_map(path: Path, places: pd.DataFrame, tables: Sequence[str]) -> None:
    """Write the map as Parquet, with the SHA-256 of each of the `tables` that it was made with."""
    made_with = json.dumps({table: sha256_of(Path(table)) for table in tables})
    with replacing(path) as part:
        pq.write_table(
            pa.Table.from_pandas(places, preserve_index=False).replace_schema_metadata({"made_with": made_with}), part
        )
    log.info("%s: the places of %s products", path, f"{len(places):,}")


def read_map(root: Path, made_with: Mapping[str, str]) -> pd.DataFrame:
    """Return the map of the pipeline in `root`. `made_with` has the SHA-256 of each table that it must be made with.

    Raises MarketplaceError if the map is missing, damaged or from another run.
    """
    path = root / MAP
    if not path.exists():
        raise MarketplaceError(f"{path} is missing: run `dvc repro map`, or `dvc pull` to get it.")
    with reading(path):
        stored = pq.read_table(path)
        recorded = json.loads((stored.schema.metadata or {}).get(b"made_with", "{}"))
    if recorded != made_with:
        raise MarketplaceError(
            f"{path} is from another run than the tables: run `dvc repro map`, or `dvc checkout` to get the files that "
            "dvc.lock names."
        )
    return stored.to_pandas()
