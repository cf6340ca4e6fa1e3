"""The metrics of each test product in a file that Git tracks, by which a review compares two revisions."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from marketplace.common.files import replacing
from marketplace.relevance.uncertainty import Shares

Rows = dict[str, dict[str, tuple[float, int]]]  # by product id and metric: the sum and the number of the values
MAX_LISTED = 1000  # products: the file is in Git again for each result that is committed


def write_shares(path: Path, product_ids: Sequence[str], shares: Mapping[str, Shares]) -> None:
    """Write the sum and the number of the values of each metric, for MAX_LISTED of the products that have any.

    Each product is a line; see `choose_by_hash`.
    """
    has_values = np.any([of_metric.counts > 0 for of_metric in shares.values()], axis=0)
    number_of = {product_ids[number]: number for number in np.flatnonzero(has_values).tolist()}
    lines = []
    for product_id in sorted(choose_by_hash(number_of, MAX_LISTED)):
        number = number_of[product_id]
        values = {
            name: [round(float(of_metric.sums[number]), 4), int(of_metric.counts[number])]
            for name, of_metric in shares.items()
            if of_metric.counts[number]
        }
        lines.append(f"  {json.dumps(product_id, ensure_ascii=False)}: {json.dumps(values)}")
    with replacing(path) as part:
        part.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def shares_of(values: Sequence[tuple[float, int]]) -> Shares:
    """Return the shares of products by the values of a metric in their rows."""
    sums, counts = np.array(values, dtype=float).reshape(-1, 2).T
    return Shares(sums=sums, counts=counts)


def choose_by_hash(product_ids: Iterable[str], n: int) -> list[str]:
    """Return the `n` ids with the lowest hashes: they stay the same while others come and go."""
    return sorted(product_ids, key=hash_id)[:n]


def hash_id(product_id: str) -> str:
    """Return the SHA-256 of a product's id, in hexadecimal digits."""
    return hashlib.sha256(product_id.encode()).hexdigest()
