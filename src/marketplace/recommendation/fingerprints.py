"""The files that answer questions together, and the proof that all are from the same run."""

from collections.abc import Iterable
from pathlib import Path

from marketplace.common.damage import how_to_heal
from marketplace.common.errors import MarketplaceError
from marketplace.common.files import sha256_of

RECOMMENDATIONS = "data/recommendations.parquet"  # holds the fingerprints of the others
TRAINING_DATA = "data/clean/training_data.parquet"
EMBEDDINGS = "data/embeddings.parquet"
TEXT_EMBEDDINGS = "data/text_embeddings.parquet"
TABLES = (TRAINING_DATA, EMBEDDINGS, TEXT_EMBEDDINGS)
SQUARES = "data/resized/full"
IMAGE_MODEL = "models/image_model.onnx"
TEXT_MODEL = "models/text_model"
SIMILAR_INDEX = "models/similar.index"
IDENTITY_INDEX = "models/identity.index"
KINDS = "models/kinds.npy"
SERVED = (TRAINING_DATA, SQUARES, IMAGE_MODEL, TEXT_MODEL, SIMILAR_INDEX, IDENTITY_INDEX, KINDS)


def fingerprints(root: Path) -> dict[str, str]:
    """Return the SHA-256 of each of the TABLES and of the SERVED files in the pipeline's folder."""
    return {name: sha256_of(root / name) for name in dict.fromkeys([*TABLES, *SERVED])}


def check_fingerprints(root: Path, recorded: dict[str, str], names: Iterable[str] = SERVED) -> None:
    """Raise MarketplaceError if a served file is missing, or one of `names` differs from its `recorded` fingerprint."""
    for name in SERVED:
        if not (root / name).exists():
            raise MarketplaceError(f"{root / name} is missing: run `dvc repro` first, or `dvc pull` to get it.")
    for name in names:
        if sha256_of(root / name) != recorded.get(name):
            raise MarketplaceError(
                f"{root / name} is damaged, or from another run than {RECOMMENDATIONS}: {how_to_heal(root / name)}. "
                "Results of different runs are never mixed."
            )
