"""The comparison of two revisions, from what Git tracks alone."""

import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marketplace.recommendation.fingerprints import RECOMMENDATIONS
from marketplace.review.changes import (
    Change,
    Overlap,
    StageChange,
    changed,
    changed_stages,
    compare_recommendations,
    extremes,
)
from marketplace.review.files import COUNTS, NOISE, PER_CATEGORY, SUMMARY, TRACKED_PRODUCTS
from marketplace.review.lock import stale_stages, training_data_hash
from marketplace.review.recommendations import recommendations_of
from marketplace.review.revisions import Revision, git
from marketplace.review.verdicts import POLICY, Outcome, Verdict, read_policy, verdicts, without_judgement

TEST_PHOTOS = "test_photos_sha256"


@dataclass
class Review:
    """Everything that a review says; `markdown` writes it down."""

    base: Revision
    head: Revision
    verdicts: list[Verdict] = field(default_factory=list)
    params: list[Change] = field(default_factory=list)
    stages: list[StageChange] = field(default_factory=list)
    categories: list[Change] | None = None  # a category's accuracy on its test photos; None: not computed
    test_photos: dict[str, int] = field(default_factory=dict)  # by category, at head
    counts: list[Change] | None = None  # of rows and files, as cleaning left them; None: not computed
    tracked_overlap: Overlap | None = None
    catalogue_overlap: Overlap | None = None
    problems: list[str] = field(default_factory=list)  # each of them blocks
    incomparable: str = ""  # why metrics of the two revisions say nothing about the change; empty: they do
    notes: list[str] = field(default_factory=list)  # what could not be computed, and what the reader should know

    @property
    def blocking(self) -> list[str]:
        """Every reason why this must not be merged as it is."""
        return [*self.problems, *(_blocking_fall(verdict) for verdict in self.verdicts if verdict.blocks)]

    @property
    def rounding(self) -> bool:
        """Outputs differ though code, parameters and commands do not: by how another machine rounds."""
        written = {output for change in self.stages for output in change.outputs}
        reasons = [set(change.reasons) for change in self.stages]
        read = {path for change in self.stages for path in change.reasons.get("data", [])}
        return bool(self.stages) and all(kinds <= {"data"} for kinds in reasons) and read <= written


def review(root: Path, base_name: str, head_name: str) -> Review:
    """Compare two revisions of the repository at `root`.

    Raises MarketplaceError for an unknown revision, or if a policy, metrics or noise file cannot be read.
    """
    base, head = Revision.of(root, base_name), Revision.of(root, head_name)
    result = Review(base, head)
    _judge_metrics(result)
    result.params = changed(base.yaml("params.yaml") or {}, head.yaml("params.yaml") or {})
    result.stages = changed_stages(base.stages, head.stages)
    result.problems += [f"`dvc.lock` does not match: {reason}" for reason in stale_at(head)]
    _compare_categories(result)
    counts = _both(result, COUNTS, "what cleaning kept and left out")
    if counts:
        result.counts = [change for change in changed(*counts) if change.name != TEST_PHOTOS]
        result.incomparable = _incomparable(result, *counts)
    if result.incomparable:
        result.verdicts = without_judgement(result.verdicts)
    tracked = _both(result, TRACKED_PRODUCTS, "the recommendations of the tracked products")
    if tracked:
        result.tracked_overlap = compare_recommendations(*tracked)
    result.catalogue_overlap = _catalogue_overlap(result)
    return result


def _incomparable(result: Review, base: Mapping[str, Any], head: Mapping[str, Any]) -> str:
    """Why the metrics of both sides are of different questions; empty if they are of the same."""
    tables = [revision.json(PER_CATEGORY) or [] for revision in (result.base, result.head)]
    before, after = ({row["category"]: row["images"] for row in table} for table in tables)
    if before and after and set(before) != set(after):
        return "they have other categories"
    tested = base.get(TEST_PHOTOS), head.get(TEST_PHOTOS)
    if (None not in tested and tested[0] != tested[1]) or (before and after and before != after):
        return "they were measured on other test photos"
    return ""


def stale_at(revision: Revision) -> list[str]:
    """Why stages would run again at a revision; a commit is looked at in a clone without data."""
    if revision.commit is None:
        return [str(stale) for stale in stale_stages(revision.root)]
    repository = (git(revision.root, "rev-parse", "--show-toplevel") or "").removesuffix("\n")
    inside = (git(revision.root, "rev-parse", "--show-prefix") or "").removesuffix("\n")  # empty at the top level
    with tempfile.TemporaryDirectory() as folder:
        for command in (
            ["clone", "--quiet", "--shared", "--no-checkout", repository, folder],
            ["-C", folder, "checkout", "--quiet", "--detach", revision.commit],
        ):
            subprocess.run(["git", *command], check=True, capture_output=True)
        return [str(stale) for stale in stale_stages(Path(folder) / inside)]


def _judge_metrics(result: Review) -> None:
    """Judge by the base's policy and noise, so that a change cannot loosen its own limits."""
    sources = {}
    for path in (POLICY, NOISE):
        of_base, of_head = result.base.text(path), result.head.text(path)
        sources[path] = result.base if of_base is not None else result.head
        if of_base is not None and of_base != of_head:
            result.notes.append(f"`{path}` differs: this review used the base's.")
    policy = read_policy(sources[POLICY])
    if not policy:
        result.problems.append(f"there is no `{POLICY}`: nothing says what is better")
        return
    noise = sources[NOISE].json(NOISE)
    if noise is None:
        result.notes.append(f"There is no `{NOISE}` (`make noise` measures it): only the tolerances count as noise.")
    elif noise["training_data"] != training_data_hash(result.base.stages):
        result.notes.append(f"`{NOISE}` was measured with other training data: `make noise` measures it again.")
    both = [revision.json(SUMMARY) for revision in (result.base, result.head)]
    for revision, metrics in zip((result.base, result.head), both, strict=True):
        if not metrics or not isinstance(metrics, Mapping):
            result.problems.append(f"{revision.label} has no metrics: `{SUMMARY}` is missing or empty")
    if not result.problems:
        result.verdicts = verdicts(both[0], both[1], policy, noise)


def _compare_categories(result: Review) -> None:
    tables = _both(result, PER_CATEGORY, "the categories that gained and lost")
    if not tables:
        return
    base, head = ({row["category"]: row for row in table} for table in tables)
    result.test_photos = {name: row["images"] for name, row in head.items()}
    shares = [Change(name, base[name]["recall"], head[name]["recall"]) for name in head if name in base]
    result.categories = extremes(shares)
    for revision, ours, theirs in ((result.head, head, base), (result.base, base, head)):
        if only := sorted(set(ours) - set(theirs)):
            result.notes.append(f"Only {revision.label} has the categories {', '.join(only)}.")


def _both(result: Review, path: str, what: str) -> tuple[Any, Any] | None:
    """A JSON file of both revisions; None, with a problem or a note, if one lacks it or it is empty."""
    base, head = result.base.json(path), result.head.json(path)
    if not head:
        result.problems.append(f"{result.head.label} has no `{path}`, or an empty one: {what} cannot be told")
    elif not base:
        result.notes.append(f"Not computed: {what}, as {result.base.label} has no `{path}`.")
    return (base, head) if base and head else None


def _catalogue_overlap(result: Review) -> Overlap | None:
    """The overlap over all products, if DVC's cache has both tables."""
    tables = [_as_entries(recommendations_of(revision)) for revision in (result.base, result.head)]
    if any(table is None for table in tables):
        result.notes.append(
            "Not computed: the recommendations of all products, as this machine does not have both versions of "
            f"`{RECOMMENDATIONS}` (`dvc fetch recommend` at either revision brings them). The tracked products are "
            "compared instead."
        )
        return None
    return compare_recommendations(*(table for table in tables if table is not None))


def _as_entries(table: dict[str, list[str]] | None) -> list[dict[str, Any]] | None:
    if table is None:
        return None
    return [{"product_id": key, "name": "", "category": "", "similar": value} for key, value in table.items()]


def _blocking_fall(verdict: Verdict) -> str:
    if verdict.outcome is not Outcome.WORSE:
        return f"{verdict.metric} is {verdict.outcome}"
    change = abs((verdict.head or 0) - (verdict.base or 0))
    return f"{verdict.metric} got worse by {change:.4f}, more than chance and the policy allow ({verdict.band:.4f})"
