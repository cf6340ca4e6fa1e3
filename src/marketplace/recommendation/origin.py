"""The origin of a table of recommendations, in its metadata."""

import json
from collections.abc import Mapping
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
    calibrations: Mapping[str, Calibration]  # by the kind of question; without one, probabilities are unknown
    same_item_cosine: float  # identity vectors this close show the same item
    dimensions: Mapping[str, int]  # the length of each part of a product's vector

    def as_metadata(self) -> dict[str, str]:
        """Return texts for the metadata of the table."""
        return {
            "made_with": json.dumps(self.made_with),
            "settings": self.settings.model_dump_json(),
            "calibrations": json.dumps({kind: asdict(one) for kind, one in self.calibrations.items()}),
            "same_item_cosine": json.dumps(self.same_item_cosine),
            "dimensions": json.dumps(self.dimensions),
        }


def origin_of(path: Path) -> Origin:
    """Read the origin from the metadata of a table of recommendations. Raises MarketplaceError if it has none."""
    import pyarrow.parquet as pq

    with reading(path):
        metadata = pq.read_metadata(path).metadata or {}
    try:
        calibrations = json.loads(metadata[b"calibrations"])
        return Origin(
            made_with=json.loads(metadata[b"made_with"]),
            settings=RecommendSettings.model_validate_json(metadata[b"settings"]),
            calibrations={kind: Calibration(**content) for kind, content in calibrations.items()},
            same_item_cosine=json.loads(metadata[b"same_item_cosine"]),
            dimensions=json.loads(metadata[b"dimensions"]),
        )
    except (KeyError, ValueError, TypeError, AttributeError):
        raise MarketplaceError(f"{path} was made by an older version: run `dvc repro recommend`.") from None
