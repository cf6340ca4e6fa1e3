"""The package's paths of the pipeline's files are outputs of stages."""

import pytest
import yaml
from helpers.paths import ROOT

from marketplace.recommendation.fingerprints import RECOMMENDATIONS, SERVED
from marketplace.review.files import COUNTS, PER_CATEGORY, SUMMARY, TRACKED_PRODUCTS, TRAINING


@pytest.mark.parametrize("path", [*SERVED, RECOMMENDATIONS, COUNTS, PER_CATEGORY, SUMMARY, TRACKED_PRODUCTS, TRAINING])
def test_a_stage_writes_the_file(path: str) -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    entries = [entry for stage in stages for kind in ("outs", "metrics", "plots") for entry in stage.get(kind, [])]
    outputs = {name for entry in entries for name in ([entry] if isinstance(entry, str) else entry)}
    assert path in outputs
