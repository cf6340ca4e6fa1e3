"""All settings of params.yaml, and the JSON schema by which editors and stages check them.

No stage imports this module, so a new key reruns only the stages that read its section. The schema is generated:
`python -m marketplace.settings` writes params.schema.json, and a test fails if it is out of date.
"""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from marketplace.catalogue.clean import CleanSettings
from marketplace.common.params import PARAMS, SCHEMA, Section, check_params, one_of
from marketplace.embedding.projection import ExtractSettings
from marketplace.models.backbones import ModelSettings
from marketplace.photos.squares import ResizeSettings
from marketplace.recommendation.rules import RecommendSettings
from marketplace.sources.dump import FetchSettings
from marketplace.training.settings import TrainFullSettings, TrainSettings, TrainSmallSettings


class Settings(Section):
    """All sections of params.yaml; the file itself explains each key."""

    fetch: FetchSettings
    watch: Annotated[list[Annotated[str, one_of(["source"])]], Field(max_length=1)]  # for stages/dvc.yaml
    clean: CleanSettings
    resize_images: ResizeSettings
    model: ModelSettings
    train: TrainSettings
    train_small: TrainSmallSettings
    train_full: TrainFullSettings
    extract: ExtractSettings
    recommend: RecommendSettings


def load_settings(path: Path = PARAMS) -> Settings:
    """Read and check params.yaml. Raises MarketplaceError: one line with the key, its value and the allowed values."""
    return Settings.model_validate(check_params(path))


def schema_text() -> str:
    """Return the content of params.schema.json."""
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema |= Settings.model_json_schema()
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(SCHEMA).write_text(schema_text(), encoding="utf-8")
