"""The verdict on a metric's change: the policy says what is better and what blocks, the noise what is chance."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, TypeAdapter, ValidationError

from marketplace.common.errors import MarketplaceError
from marketplace.review.noise import band_of
from marketplace.review.revisions import Revision


class Rule(BaseModel):
    """The rule of policy.yaml for one metric."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    better: Literal["higher", "lower"]
    tolerance: NonNegativeFloat  # the smallest change that counts, in the metric's own unit
    blocks: bool  # whether a change for the worse fails the review

    def goodness(self, value: float) -> float:
        """Return the metric's value with the sign that makes a higher one better."""
        return value if self.better == "higher" else -value


Policy = dict[str, Rule]
POLICY = "policy.yaml"


class Outcome(StrEnum):
    """The outcome of comparing a metric."""

    BETTER = "better"
    WORSE = "worse"
    NOISE = "within noise"
    SAME = "unchanged"
    NEW = "new"
    MISSING = "missing"
    NOT_A_NUMBER = "not a number"
    INCOMPARABLE = "not comparable"


@dataclass(frozen=True)
class Verdict:
    """A metric at both revisions (None if it is missing), and what the policy says about the change."""

    metric: str
    base: float | None
    head: float | None
    band: float  # a change counts when it exceeds this: the noise or the tolerance, whichever is wider
    outcome: Outcome
    blocks: bool


def read_policy(revision: Revision) -> Policy:
    """Return the rules in a revision's policy.yaml, none if it has no such file.

    Raises MarketplaceError if the file cannot be read, or names what is wrong in it.
    """
    return policy_of(revision.yaml(POLICY) or {})


def policy_of(values: Any) -> Policy:
    """The rules of a parsed policy.yaml. Raises MarketplaceError that names what is wrong."""
    try:
        return TypeAdapter(Policy).validate_python(values)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise MarketplaceError(f"{POLICY}: {where}: {error.errors()[0]['msg']}.") from error


def verdicts(
    base: Mapping[str, Any], head: Mapping[str, Any], policy: Policy, noise: dict[str, Any] | None
) -> list[Verdict]:
    """A verdict on each metric of the policy, in its order, then on those that it does not know.

    A metric that is missing or not finite at `head` blocks, whatever the policy says; one that `base` does not have is
    new.
    """
    unknown = [name for name in head if name not in policy]
    rules = [*policy.items(), *((name, Rule(better="higher", tolerance=0, blocks=False)) for name in unknown)]
    return [_verdict(name, _number(base, name), _number(head, name), rule, noise) for name, rule in rules]


def without_judgement(found: list[Verdict]) -> list[Verdict]:
    """The same figures where both sides cannot be compared; what is missing or not a number still blocks."""
    return [
        verdict if verdict.blocks and verdict.outcome is not Outcome.WORSE else _unjudged(verdict) for verdict in found
    ]


def _unjudged(verdict: Verdict) -> Verdict:
    return replace(verdict, outcome=Outcome.INCOMPARABLE, blocks=False)


def _verdict(name: str, base: float | None, head: float | None, rule: Rule, noise: dict[str, Any] | None) -> Verdict:
    measured = band_of(noise, name) if noise else None
    band = max(measured or 0.0, rule.tolerance)
    if head is None or not math.isfinite(head):
        outcome = Outcome.MISSING if head is None else Outcome.NOT_A_NUMBER
        return Verdict(name, base, head, band, outcome, blocks=True)
    if base is None or not math.isfinite(base):
        return Verdict(name, base, head, band, Outcome.NEW, blocks=False)
    gained = rule.goodness(head) - rule.goodness(base)
    if gained == 0:
        return Verdict(name, base, head, band, Outcome.SAME, blocks=False)
    if abs(gained) <= band:
        return Verdict(name, base, head, band, Outcome.NOISE, blocks=False)
    if gained > 0:
        return Verdict(name, base, head, band, Outcome.BETTER, blocks=False)
    return Verdict(name, base, head, band, Outcome.WORSE, blocks=rule.blocks)


def _number(metrics: Mapping[str, Any], name: str) -> float | None:
    """None if the metric is missing, NaN if it is not a number."""
    value = metrics.get(name)
    if value is None:
        return math.nan if name in metrics else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
