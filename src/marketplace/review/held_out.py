"""The comparison of two revisions over the same test products."""

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from marketplace.relevance.shares_file import Rows, shares_of
from marketplace.relevance.uncertainty import compare_shares
from marketplace.review.files import BY_PRODUCT
from marketplace.review.noise import noise_band
from marketplace.review.revisions import Revision

_ROWS = TypeAdapter(Rows)


@dataclass(frozen=True)
class HeldOutDifference:
    """The change of a metric over the same test products, and its 95 % interval with other products."""

    metric: str
    products: int  # that have the metric at both revisions
    changed: int  # products whose values differ
    mean: float
    low: float
    high: float
    band: float | None  # the largest difference that another seed of training explains; None: not measured

    @property
    def is_shown(self) -> bool:
        """Whether the interval does not have 0 in it."""
        return self.low > 0 or self.high < 0


def compare_held_out(base: Revision, head: Revision, noise: dict[str, Any] | None) -> list[HeldOutDifference]:
    """Compare the metrics that files of both revisions have product by product; those without a change are left out."""
    before = _read_rows(base)
    after = _read_rows(head)
    ids = [product_id for product_id in before if product_id in after]
    metrics = dict.fromkeys(metric for product_id in ids for metric in after[product_id])
    differences = []
    for metric in metrics:
        own = [product_id for product_id in ids if metric in before[product_id] and metric in after[product_id]]
        old = shares_of([before[product_id][metric] for product_id in own])
        new = shares_of([after[product_id][metric] for product_id in own])
        n_changed = int((old.sums / old.counts != new.sums / new.counts).sum())
        if not n_changed:
            continue
        low, high = compare_shares(old, new)
        difference = HeldOutDifference(
            metric=metric,
            products=len(own),
            changed=n_changed,
            mean=new.mean() - old.mean(),
            low=low,
            high=high,
            band=noise_band(noise, metric) if noise else None,
        )
        differences.append(difference)
    return differences


def _read_rows(revision: Revision) -> Rows:
    """Return the metrics of each test product; none from a file that is missing or of another form."""
    rows: Rows = {}
    for path in BY_PRODUCT:
        try:
            content = _ROWS.validate_python(revision.json(path) or {})
        except ValidationError:
            continue
        for product_id, metrics in content.items():
            counted = {name: value for name, value in metrics.items() if value[1] > 0}
            rows.setdefault(product_id, {}).update(counted)
    return rows
