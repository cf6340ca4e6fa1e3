"""What differs between two revisions: values, stages and why they gave something else, recommendations."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from marketplace.review.lock import hashes, kind_of, params

MOVED = 5  # categories or products that are named at each end


@dataclass(frozen=True)
class Change:
    """A value by name, before and after; None where there is none."""

    name: str
    base: Any
    head: Any

    @property
    def gained(self) -> float:
        """What a number gained, a missing one counting as 0."""
        return float((self.head or 0) - (self.base or 0))


@dataclass
class StageChange:
    """A stage that gave other outputs, and what was other about what it took."""

    stage: str
    outputs: list[str]
    reasons: dict[str, list[str]] = field(default_factory=dict)  # by kind: code, command, data, params


@dataclass(frozen=True)
class Moved:
    """A probe product and the share of its recommendations that stayed."""

    product_id: str
    name: str
    category: str
    stayed: float


@dataclass(frozen=True)
class Drift:
    """How many of the recommendations of the same products stayed the same."""

    products: int
    stayed: float  # mean over the products of the share that stayed
    unchanged: int  # products whose recommendations all stayed
    moved_most: list[Moved]


def changed(base: Mapping[str, Any], head: Mapping[str, Any]) -> list[Change]:
    """The leaves of two nested mappings that differ, by dotted name, in the order of `head` and then of `base`."""
    before, after = flattened(base), flattened(head)
    names = [*after, *(name for name in before if name not in after)]
    return [Change(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def changed_stages(base: Mapping[str, Any], head: Mapping[str, Any]) -> list[StageChange]:
    """The stages of two dvc.lock files (their `stages`) whose outputs differ, in the order of `head`."""
    found = []
    for stage, after in head.items():
        before = base.get(stage, {})
        outputs = [change.name for change in changed(hashes(before, "outs"), hashes(after, "outs"))]
        if outputs:
            found.append(StageChange(stage, outputs, _reasons(before, after) if before else {"new": ["the stage"]}))
    gone = [stage for stage in base if stage not in head]
    return found + [StageChange(stage, [*hashes(base[stage], "outs")], {"gone": ["the stage"]}) for stage in gone]


def _reasons(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for change in changed(hashes(before, "deps"), hashes(after, "deps")):
        reasons.setdefault(kind_of(change.name), []).append(change.name)
    if before.get("cmd") != after.get("cmd"):
        reasons["command"] = [str(after.get("cmd"))]
    moved = changed(params(before), params(after))
    if moved:
        reasons["params"] = [change.name for change in moved]
    return reasons


def extremes(changes: Iterable[Change]) -> list[Change]:
    """Those that gained most, then those that lost most, the greatest change first in either."""
    ordered = sorted(changes, key=lambda change: -abs(change.gained))
    gained, lost = ([change for change in ordered if sign * change.gained > 0] for sign in (1, -1))
    return gained[:MOVED] + lost[:MOVED]


def drift(base: list[dict[str, Any]], head: list[dict[str, Any]]) -> Drift | None:
    """Compare what `recommend.probe` kept at two revisions; None where no product is in both.

    The share that stayed is |before and after| / |before|; a product that had no recommendations stayed as it was if it
    still has none.
    """
    before = {entry["product_id"]: set(entry["similar"]) for entry in base}
    moved = []
    for entry in head:
        old, new = before.get(entry["product_id"]), set(entry["similar"])
        if old is not None:
            stayed = len(old & new) / len(old) if old else float(not new)
            moved.append(Moved(entry["product_id"], entry["name"], entry["category"], stayed))
    if not moved:
        return None
    moved.sort(key=lambda product: product.stayed)
    unchanged = sum(product.stayed == 1 for product in moved)
    most = [product for product in moved[:MOVED] if product.stayed < 1]
    return Drift(len(moved), sum(product.stayed for product in moved) / len(moved), unchanged, most)
