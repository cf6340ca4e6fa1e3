"""The differences between two revisions: values, outputs of stages with their causes, and recommendations."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from marketplace.review.lock import flatten, hashes, kind_of, params_of

N_EXTREMES = 5  # categories that gained most, as many that lost most, and products that changed most


@dataclass(frozen=True)
class Change:
    """A value by name, at the base and at the head; None where it does not exist."""

    name: str
    base: Any
    head: Any

    @property
    def gain(self) -> float:
        """The head minus the base, both numbers; a missing one counts as 0."""
        return float((self.head or 0) - (self.base or 0))


@dataclass
class StageChange:
    """A stage whose outputs differ, with the differences in its inputs."""

    stage: str
    outputs: list[str]
    reasons: dict[str, list[str]] = field(default_factory=dict)  # by kind: code, command, data, params


@dataclass(frozen=True)
class Recommended:
    """A product, and the ids of the products that are recommended for it."""

    name: str
    category: str
    similar: list[str]


@dataclass(frozen=True)
class ProductOverlap:
    """A tracked product and the share of its recommendations that stayed the same."""

    product_id: str
    name: str
    category: str
    share: float


@dataclass(frozen=True)
class Overlap:
    """How far the recommendations of the same products are the same at two revisions."""

    products: int
    share: float  # recommendations that stayed the same; the mean over the products
    unchanged: int  # products whose recommendations all stayed the same
    least: list[ProductOverlap]


def find_changes(base: Mapping[str, Any], head: Mapping[str, Any]) -> list[Change]:
    """Return the leaves of two nested mappings that differ, by dotted name: in the order of `head`, then of `base`."""
    before = flatten(base)
    after = flatten(head)
    names = [*after, *(name for name in before if name not in after)]
    changes = [Change(name=name, base=before.get(name), head=after.get(name)) for name in names]
    return [change for change in changes if change.base != change.head]


def find_stage_changes(base: Mapping[str, Any], head: Mapping[str, Any]) -> list[StageChange]:
    """Return the stages whose outputs differ between the `stages` of two dvc.lock files, in the order of `head`."""
    changes = []
    for stage, after in head.items():
        before = base.get(stage, {})
        outputs = [change.name for change in find_changes(hashes(before, "outs"), hashes(after, "outs"))]
        if outputs:
            reasons = _find_reasons(before, after) if before else {"new": ["the stage"]}
            changes.append(StageChange(stage=stage, outputs=outputs, reasons=reasons))
    for stage, before in base.items():
        if stage not in head:
            outputs = list(hashes(before, "outs"))
            changes.append(StageChange(stage=stage, outputs=outputs, reasons={"gone": ["the stage"]}))
    return changes


def differ_by_rounding(changes: Sequence[StageChange]) -> bool:
    """Return whether outputs differ though code, parameters and commands do not, because machines round differently."""
    outputs = {output for change in changes for output in change.outputs}
    inputs = {path for change in changes for path in change.reasons.get("data", [])}
    only_data = all(set(change.reasons) <= {"data"} for change in changes)
    return bool(changes) and only_data and inputs <= outputs


def _find_reasons(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for change in find_changes(hashes(before, "deps"), hashes(after, "deps")):
        reasons.setdefault(kind_of(change.name), []).append(change.name)
    if before.get("cmd") != after.get("cmd"):
        reasons["command"] = [str(after.get("cmd"))]
    param_changes = find_changes(params_of(before), params_of(after))
    if param_changes:
        reasons["params"] = [change.name for change in param_changes]
    return reasons


def select_extremes(changes: Iterable[Change]) -> list[Change]:
    """Return the changes that gained most, then those that lost most, each with the largest change first."""
    ordered = sorted(changes, key=lambda change: -abs(change.gain))
    gains = [change for change in ordered if change.gain > 0]
    losses = [change for change in ordered if change.gain < 0]
    return gains[:N_EXTREMES] + losses[:N_EXTREMES]


def compare_recommendations(base: Mapping[str, Recommended], head: Mapping[str, Recommended]) -> Overlap | None:
    """Compare the recommendations of the same products, by id, at two revisions; None if no product is in both.

    The share that stayed the same is |before and after| / |before|; for a product without recommendations it is 1 if it
    still has none, else 0.
    """
    overlaps = [
        ProductOverlap(
            product_id=product_id,
            name=after.name,
            category=after.category,
            share=_share_kept(set(base[product_id].similar), set(after.similar)),
        )
        for product_id, after in head.items()
        if product_id in base
    ]
    if not overlaps:
        return None
    overlaps.sort(key=lambda overlap: overlap.share)
    return Overlap(
        products=len(overlaps),
        share=sum(overlap.share for overlap in overlaps) / len(overlaps),
        unchanged=sum(overlap.share == 1 for overlap in overlaps),
        least=[overlap for overlap in overlaps[:N_EXTREMES] if overlap.share < 1],
    )


def _share_kept(before: set[str], after: set[str]) -> float:
    return len(before & after) / len(before) if before else float(not after)
