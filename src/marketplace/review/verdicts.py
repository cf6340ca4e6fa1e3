"""Verdicts on metrics: the policy defines better and worse, and the noise tells a change from chance."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, TypeAdapter, ValidationError

from marketplace.common.errors import MarketplaceError
from marketplace.review.noise import noise_band
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
    """The result of comparing a metric at two revisions."""

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
    """A metric at both revisions, None where it is missing, and the outcome under the policy."""

    metric: str
    base: float | None
    head: float | None
    band: float  # a change counts if it exceeds this: the noise or the tolerance, whichever is wider
    outcome: Outcome
    blocks: bool


def read_policy(revision: Revision) -> Policy:
    """Return the rules in a revision's policy.yaml, none if it has no such file.

    Raises MarketplaceError if the file is not YAML, or names the rule that is wrong.
    """
    return parse_policy(revision.yaml(POLICY) or {})


def parse_policy(values: Any) -> Policy:
    """Return the rules in the content of policy.yaml. Raises MarketplaceError that names the rule that is wrong."""
    try:
        return TypeAdapter(Policy).validate_python(values)
    except ValidationError as error:
        mistake = error.errors()[0]
        place = ".".join(map(str, mistake["loc"]))
        raise MarketplaceError(f"{POLICY}: {place}: {mistake['msg']}.") from error


def judge_metrics(
    base: Mapping[str, Any], head: Mapping[str, Any], policy: Policy, noise: dict[str, Any] | None
) -> list[Verdict]:
    """Return a verdict on each metric of the policy, in its order, then on the other metrics of `head`.

    A metric of `base` that is missing or not finite at `head` blocks, whatever the policy says. One that `base` lacks
    is new. Metrics that both lack are left out: a shop without judgements has no judged quality.
    """
    default = Rule(better="higher", tolerance=0, blocks=False)
    rules = policy | {name: default for name in head if name not in policy}
    return [
        _judge(name, _read_number(base, name), _read_number(head, name), rule, noise)
        for name, rule in rules.items()
        if name in base or name in head
    ]


def withhold_judgement(verdicts: list[Verdict]) -> list[Verdict]:
    """Keep the figures but judge none, for revisions that cannot be compared; unusable metrics still block."""
    return [
        verdict
        if verdict.blocks and verdict.outcome is not Outcome.WORSE
        else replace(verdict, outcome=Outcome.INCOMPARABLE, blocks=False)
        for verdict in verdicts
    ]


def _judge(name: str, base: float | None, head: float | None, rule: Rule, noise: dict[str, Any] | None) -> Verdict:
    seed_band = noise_band(noise, name) if noise else None
    band = max(seed_band or 0.0, rule.tolerance)
    outcome = _compare(base, head, rule, band)
    unusable = outcome in (Outcome.MISSING, Outcome.NOT_A_NUMBER)
    blocks = (unusable and _is_usable(base)) or (outcome is Outcome.WORSE and rule.blocks)
    return Verdict(metric=name, base=base, head=head, band=band, outcome=outcome, blocks=blocks)


def _is_usable(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _compare(base: float | None, head: float | None, rule: Rule, band: float) -> Outcome:
    if head is None:
        return Outcome.MISSING
    if not math.isfinite(head):
        return Outcome.NOT_A_NUMBER
    if base is None or not math.isfinite(base):
        return Outcome.NEW
    gain = rule.goodness(head) - rule.goodness(base)
    if gain == 0:
        return Outcome.SAME
    if abs(gain) <= band:
        return Outcome.NOISE
    return Outcome.BETTER if gain > 0 else Outcome.WORSE


def _read_number(metrics: Mapping[str, Any], name: str) -> float | None:
    """Return a metric, None if it is missing, NaN if it is not a number."""
    if name not in metrics:
        return None
    value = metrics[name]
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
