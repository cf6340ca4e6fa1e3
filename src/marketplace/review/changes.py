"""The differences between two revisions: values, stages with the reasons for their outputs, recommendations."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from marketplace.review.lock import flattened, hashes, kind_of, params

MOVED = 5  # categories or products that are named at each end


@dataclass(frozen=True)
class Change:
    """A value by name, before and after; None if it does not exist."""

    name: str
    base: Any
    head: Any

    @property
    def gained(self) -> float:
        """The gain of a number; a missing one counts as 0."""
        return float((self.head or 0) - (self.base or 0))


@dataclass
class StageChange:
    """A stage whose outputs differ, and what differed in its inputs."""

    stage: str
    outputs: list[str]
    reasons: dict[str, list[str]] = field(default_factory=dict)  # by kind: code, command, data, params


@dataclass(frozen=True)
class ProductOverlap:
    """A tracked product and the share of its recommendations that stayed."""

    product_id: str
    name: str
    category: str
    share: float


@dataclass(frozen=True)
class Overlap:
    """The share of recommendations that stayed the same, over the same products."""

    products: int
    share: float  # mean over the products of the share that stayed
    unchanged: int  # products whose recommendations all stayed
    least: list[ProductOverlap]


def changed(base: Mapping[str, Any], head: Mapping[str, Any]) -> list[Change]:
    """The leaves of two nested mappings that differ, by dotted name, in the order of `head` and then of `base`."""
    before, after = flattened(base), flattened(head)
    names = [*after, *(name for name in before if name not in after)]
    return [Change(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


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
    """Those that gained most, then those that lost most, each with the greatest change first."""
    ordered = sorted(changes, key=lambda change: -abs(change.gained))
    gained, lost = ([change for change in ordered if sign * change.gained > 0] for sign in (1, -1))
    return gained[:MOVED] + lost[:MOVED]


def compare_recommendations(base: list[dict[str, Any]], head: list[dict[str, Any]]) -> Overlap | None:
    """Compare the recommendations of the same products at two revisions; None if no product is in both.

    The share that stayed is |before and after| / |before|; for a product that had no recommendations it is 1 if it
    still has none, else 0.
    """
    before = {entry["product_id"]: set(entry["similar"]) for entry in base}
    moved = []
    for entry in head:
        old, new = before.get(entry["product_id"]), set(entry["similar"])
        if old is not None:
            stayed = len(old & new) / len(old) if old else float(not new)
            moved.append(ProductOverlap(entry["product_id"], entry["name"], entry["category"], stayed))
    if not moved:
        return None
    moved.sort(key=lambda product: product.share)
    unchanged = sum(product.share == 1 for product in moved)
    most = [product for product in moved[:MOVED] if product.share < 1]
    return Overlap(len(moved), sum(product.share for product in moved) / len(moved), unchanged, most)
