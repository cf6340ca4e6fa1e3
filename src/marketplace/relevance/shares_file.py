"""The metrics of each test product in a file that Git tracks, by which a review compares two revisions."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from marketplace.common.files import replacing
from marketplace.relevance.uncertainty import Shares

MAX_LISTED = 1000  # products: the file is in Git again for each result that is committed


def write_shares(path: Path, product_ids: Sequence[str], shares: Mapping[str, Shares]) -> None:
    """Write the sum and the number of the values of each metric, for MAX_LISTED of the products that have any.

    Those with the lowest hashes of ids are chosen: they stay the same while others come and go. Each product is a line.
    """
    has_values = np.any([of_metric.counts > 0 for of_metric in shares.values()], axis=0)
    numbers = sorted(np.flatnonzero(has_values).tolist(), key=lambda number: _hash(product_ids[number]))[:MAX_LISTED]
    lines = []
    for number in sorted(numbers, key=lambda number: product_ids[number]):
        values = {
            name: [round(float(of_metric.sums[number]), 4), int(of_metric.counts[number])]
            for name, of_metric in shares.items()
            if of_metric.counts[number]
        }
        lines.append(f"  {json.dumps(product_ids[number], ensure_ascii=False)}: {json.dumps(values)}")
    with replacing(path) as part:
        part.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _hash(product_id: str) -> str:
    return hashlib.sha256(product_id.encode()).hexdigest()
