"""The form in which metrics are written."""

import math
from collections.abc import Mapping


def round_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Round to five digits; leave out metrics that could not be measured (NaN)."""
    return {name: round(float(value), 5) for name, value in metrics.items() if math.isfinite(value)}
