"""The files that answer questions together, and proof that they are all of one run."""

from pathlib import Path

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import sha256_of

RECOMMENDATIONS = "data/recommendations.parquet"  # holds the fingerprints of the others
SERVED = (
    "data/clean/training_data.parquet",
    "data/embeddings.parquet",
    "data/text_embeddings.parquet",
    "models/image_model.onnx",
    "models/text_model",
    "models/similar.index",
    "models/same.index",
)


def fingerprints(root: Path) -> dict[str, str]:
    """The SHA-256 of each of those files in the pipeline's folder."""
    return {name: sha256_of(root / name) for name in SERVED}


def check_fingerprints(root: Path, recorded: dict[str, str]) -> None:
    """Raise MarketplaceError if a file is missing, or is not the one that was there when `recorded` were taken."""
    for name in SERVED:
        if not (root / name).exists():
            raise MarketplaceError(f"{root / name} is missing: run `dvc repro` first, or `dvc pull` to get it.")
    for name, found in fingerprints(root).items():
        if found != recorded.get(name):
            raise MarketplaceError(
                f"{root / name} is of another run than {RECOMMENDATIONS}: run `dvc repro`, or `dvc checkout` to have "
                "the files that dvc.lock names. Nothing is answered from a mixture."
            )
