"""The files that answer questions together, and proof that they are all of one run."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import sha256_of

RECOMMENDATIONS = "data/recommendations.parquet"  # holds the fingerprints of the others
TRAINING_DATA = "data/clean/training_data.parquet"
EMBEDDINGS = "data/embeddings.parquet"
TEXT_EMBEDDINGS = "data/text_embeddings.parquet"
TABLES = (TRAINING_DATA, EMBEDDINGS, TEXT_EMBEDDINGS)
IMAGE_MODEL, TEXT_MODEL = "models/image_model.onnx", "models/text_model"
SIMILAR_INDEX = "models/similar.index"
IDENTITY_INDEX = "models/identity.index"
SERVED = (*TABLES, IMAGE_MODEL, TEXT_MODEL, SIMILAR_INDEX, IDENTITY_INDEX)


def fingerprints(root: Path) -> dict[str, str]:
    """The SHA-256 of each of those files in the pipeline's folder."""
    return {name: sha256_of(root / name) for name in SERVED}


class Origin(NamedTuple):
    """What a table of recommendations was made with, and what is known of its scores."""

    words: float  # the weight of words
    made_with: dict[str, str]  # fingerprints
    close: float | None  # the score from which on a match is close; None: unknown


def origin_of(path: Path) -> Origin:
    """The origin that is kept with a table of recommendations. Raises MarketplaceError if it has none."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path).metadata or {}
    try:
        return Origin(*(json.loads(metadata[name.encode()]) for name in Origin._fields))
    except KeyError:
        raise MarketplaceError(f"{path} is of an older version: run `dvc repro recommend`.") from None


def check_fingerprints(root: Path, recorded: dict[str, str], names: Iterable[str] = SERVED) -> None:
    """Raise MarketplaceError if a file is missing, or one of `names` is not the one that `recorded` were taken of."""
    for name in SERVED:
        if not (root / name).exists():
            raise MarketplaceError(f"{root / name} is missing: run `dvc repro` first, or `dvc pull` to get it.")
    for name in names:
        if sha256_of(root / name) != recorded.get(name):
            raise MarketplaceError(
                f"{root / name} is of another run than {RECOMMENDATIONS}: run `dvc repro`, or `dvc checkout` to have "
                "the files that dvc.lock names. Nothing is answered from a mixture."
            )
