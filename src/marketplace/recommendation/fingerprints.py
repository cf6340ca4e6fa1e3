"""The files that answer questions together, and the proof that all are from the same run."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import sha256_of

RECOMMENDATIONS = "data/recommendations.parquet"  # holds the fingerprints of the others
TRAINING_DATA = "data/clean/training_data.parquet"
EMBEDDINGS = "data/embeddings.parquet"
TEXT_EMBEDDINGS = "data/text_embeddings.parquet"
TABLES = (TRAINING_DATA, EMBEDDINGS, TEXT_EMBEDDINGS)
IMAGE_MODEL = "models/image_model.onnx"
TEXT_MODEL = "models/text_model"
SIMILAR_INDEX = "models/similar.index"
IDENTITY_INDEX = "models/identity.index"
SERVED = (*TABLES, IMAGE_MODEL, TEXT_MODEL, SIMILAR_INDEX, IDENTITY_INDEX)


def fingerprints(root: Path) -> dict[str, str]:
    """Return the SHA-256 of each of the SERVED files in the pipeline's folder."""
    return {name: sha256_of(root / name) for name in SERVED}


@dataclass(frozen=True)
class Origin:
    """How a table of recommendations was made, and which of its scores are close."""

    words: float  # the weight of words
    made_with: dict[str, str]  # fingerprints of the files
    close: float | None  # the lowest score of a close match; None: unknown


def origin_of(path: Path) -> Origin:
    """Read the origin from the metadata of a table of recommendations. Raises MarketplaceError if it has none."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path).metadata or {}
    try:
        return Origin(
            words=json.loads(metadata[b"words"]),
            made_with=json.loads(metadata[b"made_with"]),
            close=json.loads(metadata[b"close"]),
        )
    except KeyError:
        raise MarketplaceError(f"{path} was made by an older version: run `dvc repro recommend`.") from None


def check_fingerprints(root: Path, recorded: dict[str, str], names: Iterable[str] = SERVED) -> None:
    """Raise MarketplaceError if a served file is missing, or one of `names` differs from its `recorded` fingerprint."""
    for name in SERVED:
        if not (root / name).exists():
            raise MarketplaceError(f"{root / name} is missing: run `dvc repro` first, or `dvc pull` to get it.")
    for name in names:
        if sha256_of(root / name) != recorded.get(name):
            raise MarketplaceError(
                f"{root / name} is from another run than {RECOMMENDATIONS}: run `dvc repro`, or `dvc checkout` to get "
                "the files that dvc.lock names. Results of different runs are never mixed."
            )
