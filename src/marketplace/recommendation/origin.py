"""The origin of a table of recommendations, in its metadata."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from marketplace.common.damage import reading
from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.calibration import Calibration
from marketplace.recommendation.rules import RecommendSettings


@dataclass(frozen=True)
class Origin:
    """How a table of recommendations was made; questions are answered in the same way."""

    made_with: dict[str, str]  # fingerprints of the files
    settings: RecommendSettings
    calibration: Calibration | None  # None: the probabilities of scores are unknown

    def as_metadata(self) -> dict[str, str]:
        """Return texts for the metadata of the table."""
        return {
            "made_with": json.dumps(self.made_with),
            "settings": self.settings.model_dump_json(),
            "calibration": json.dumps(asdict(self.calibration) if self.calibration else None),
        }


def origin_of(path: Path) -> Origin:
    """Read the origin from the metadata of a table of recommendations. Raises MarketplaceError if it has none."""
    import pyarrow.parquet as pq

    with reading(path):
        metadata = pq.read_metadata(path).metadata or {}
    try:
        calibration = json.loads(metadata[b"calibration"])
        return Origin(
            made_with=json.loads(metadata[b"made_with"]),
            settings=RecommendSettings.model_validate_json(metadata[b"settings"]),
            calibration=Calibration(**calibration) if calibration else None,
        )
    except (KeyError, ValueError, TypeError):
        raise MarketplaceError(f"{path} was made by an older version: run `dvc repro recommend`.") from None
