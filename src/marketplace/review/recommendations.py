"""The recommendations of a revision, and the photos behind one of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from marketplace.common.errors import MarketplaceError
from marketplace.raw.tables import tidy_id
from marketplace.recommendation.fingerprints import EMBEDDINGS, RECOMMENDATIONS, TRAINING_DATA
from marketplace.recommendation.products import matching_ids
from marketplace.recommendation.ranking import most_similar_pair
from marketplace.review.lock import hashes
from marketplace.review.revisions import Revision
from marketplace.vectors.tables import read_embeddings


@dataclass(frozen=True)
class Recommendation:
    """A product recommended for another, and the most similar pair of photos behind it."""

    product_id: str
    similar_product_id: str
    rank: int
    score: float
    photos: dict[str, str]  # image id to the SHA-256 of its file; the first photo is the product's own

    def describe(self) -> dict[str, list[str]]:
        """Return the lines to show, by heading."""
        return {
            "recommended": [
                f"{self.similar_product_id} for {self.product_id}, rank {self.rank}, score {self.score:.4f}"
            ],
            "photos": [f"{image_id}  sha256 {sha256}" for image_id, sha256 in self.photos.items()],
        }


def recommendations_of(revision: Revision) -> dict[str, list[str]] | None:
    """Return the recommended products of every product at a revision; None if this machine lacks that table."""
    from dvc.repo import Repo

    md5 = hash_of_recommendations(revision)
    if md5 is None:
        return None
    with Repo(str(revision.root)) as repo:
        cached = Path(repo.cache.local.oid_to_path(md5))
    if not cached.is_file():
        return None
    similar = pd.read_parquet(cached).groupby("product_id")["similar_product_id"].agg(list)
    return {str(product_id): similar_ids for product_id, similar_ids in similar.items()}


def hash_of_recommendations(revision: Revision) -> str | None:
    """Return the MD5 of a revision's table of recommendations; None if the pipeline has not run."""
    return hashes(revision.stages.get("recommend", {}), "outs").get(RECOMMENDATIONS)


def find_recommendation(
    root: Path, product_id: str, similar_product_id: str | None = None, *, beginning: bool = True
) -> Recommendation | None:
    """Find a recommendation in the working tree: the product's first one, unless a similar product is named.

    The beginning of an id is enough; for the product's own id, only if `beginning` is true. Returns None if the product
    has no recommendations. Raises MarketplaceError if the other product is not one of them, or if several ids begin
    like that.
    """
    if not (root / RECOMMENDATIONS).is_file():
        return None
    table = pd.read_parquet(root / RECOMMENDATIONS)
    whole_id = _complete_id(table["product_id"], product_id, beginning=beginning)
    if whole_id is None:
        return None
    rows = table[table["product_id"] == whole_id]
    if similar_product_id is not None:
        similar_id = _complete_id(rows["similar_product_id"], similar_product_id)
        if similar_id is None:
            raise MarketplaceError(f"{similar_product_id!r} is not recommended for {whole_id!r}.")
        rows = rows[rows["similar_product_id"] == similar_id]
    row = rows.sort_values("rank").iloc[0]
    return Recommendation(
        product_id=whole_id,
        similar_product_id=row["similar_product_id"],
        rank=int(row["rank"]),
        score=float(row["score"]),
        photos=_matching_photos(root, whole_id, row["similar_product_id"]),
    )


def _complete_id(ids: Iterable[str], text: str, *, beginning: bool = True) -> str | None:
    """Return the one of `ids` that a text means, None if there is none."""
    matches = matching_ids(sorted(set(ids)), tidy_id(text))
    if not beginning:
        return tidy_id(text) if tidy_id(text) in matches else None
    if len(matches) > 1:
        raise MarketplaceError(f"{len(matches)} ids begin with {text!r}: type more of it.")
    return matches[0] if matches else None


def _matching_photos(root: Path, product_id: str, similar_product_id: str) -> dict[str, str]:
    """Return the most similar pair of photos of two products: image id to the SHA-256 of its file."""
    training_data = pd.read_parquet(root / TRAINING_DATA)
    vectors = read_embeddings(root / EMBEDDINGS, training_data).kind
    rows = np.flatnonzero(training_data["product_id"] == product_id)
    similar_rows = np.flatnonzero(training_data["product_id"] == similar_product_id)
    place, similar_place, _ = most_similar_pair(vectors[rows], vectors[similar_rows])
    pair = training_data.iloc[[rows[place], similar_rows[similar_place]]]
    return dict(zip(pair["image_id"], pair["sha256"], strict=True))
