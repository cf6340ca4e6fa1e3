"""The comparison of two revisions, from the files that Git tracks."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.fingerprints import RECOMMENDATIONS
from marketplace.review.changes import (
    Change,
    Overlap,
    Recommended,
    StageChange,
    compare_recommendations,
    differ_by_rounding,
    find_changes,
    find_stage_changes,
    select_extremes,
)
from marketplace.review.escaping import escape
from marketplace.review.files import COUNTS, NOISE, PER_CATEGORY, SUMMARY, TRACKED_PRODUCTS
from marketplace.review.held_out import HeldOutDifference, compare_held_out
from marketplace.review.judged import JudgedComparison, compare_judged
from marketplace.review.lock import find_stale_stages, training_data_hash
from marketplace.review.market_figures import find_old_figures
from marketplace.review.recommendations import recommendations_of
from marketplace.review.revisions import Revision, git
from marketplace.review.verdicts import POLICY, Outcome, Verdict, judge_metrics, read_policy, withhold_judgement

TEST_PHOTOS = "test_photos_sha256"  # the key in metrics/clean.json


@dataclass(frozen=True)
class CategoryAccuracy:
    """The part of a row of metrics/evaluate/per_category.json that a review reads."""

    category: str
    images: int
    recall: float


SCHEMAS: dict[str, TypeAdapter[Any]] = {  # of the files that a review compares
    COUNTS: TypeAdapter(dict[str, Any]),
    PER_CATEGORY: TypeAdapter(list[CategoryAccuracy]),
    TRACKED_PRODUCTS: TypeAdapter(dict[str, Recommended]),
}


@dataclass
class Review:
    """The content of a review; `markdown` writes it."""

    base: Revision
    head: Revision
    verdicts: list[Verdict] = field(default_factory=list)
    judged: JudgedComparison | None = None  # None: neither revision has judgements
    held_out: list[HeldOutDifference] = field(default_factory=list)  # over the same test products
    params: list[Change] = field(default_factory=list)
    stages: list[StageChange] = field(default_factory=list)
    categories: list[Change] | None = None  # accuracy on the test photos of each category; None: not computed
    test_photos: dict[str, int] = field(default_factory=dict)  # by category, at head
    counts: list[Change] | None = None  # rows and files after cleaning; None: not computed
    tracked_overlap: Overlap | None = None
    catalogue_overlap: Overlap | None = None
    problems: list[str] = field(default_factory=list)  # each of them blocks
    incomparable: str = ""  # why the metrics of the two revisions cannot be compared; empty if they can
    old_figures: list[str] = field(default_factory=list)  # of a real marketplace, measured before this code
    notes: list[str] = field(default_factory=list)  # for the reader, also about missing results

    @property
    def blockers(self) -> list[str]:
        """Every reason why this must not be merged as it is."""
        return [*self.problems, *(_describe_blocker(verdict) for verdict in self.verdicts if verdict.blocks)]

    @property
    def differs_by_rounding(self) -> bool:
        """Whether outputs differ though code, parameters and commands do not, because machines round differently."""
        return differ_by_rounding(self.stages)


def review_change(root: Path, base_name: str, head_name: str) -> Review:
    """Compare two revisions of the repository at `root`.

    Raises MarketplaceError for an unknown revision, or if a policy, metrics or noise file cannot be read.
    """
    base = Revision.of(root, base_name)
    head = Revision.of(root, head_name)
    review = Review(base=base, head=head)
    noise = _read_noise(review)
    _judge_metrics(review, noise)
    review.judged = compare_judged(base, head, noise)
    review.params = find_changes(base.yaml("params.yaml") or {}, head.yaml("params.yaml") or {})
    review.stages = find_stage_changes(base.stages, head.stages)
    review.problems += [f"`dvc.lock` does not match: {escape(reason)}" for reason in find_stale_reasons(head)]
    _compare_categories(review)
    counts = _read_both(review, COUNTS, "the counts of kept and rejected data")
    if counts:
        review.counts = [change for change in find_changes(*counts) if change.name != TEST_PHOTOS]
        review.incomparable = review.incomparable or _find_incomparability(review, *counts)
    if review.incomparable:
        review.verdicts = withhold_judgement(review.verdicts)
    else:
        review.held_out = compare_held_out(base, head, noise)
    tracked = _read_both(review, TRACKED_PRODUCTS, "the recommendations of the tracked products")
    if tracked:
        review.tracked_overlap = compare_recommendations(*tracked)
    review.catalogue_overlap = _compare_catalogues(review)
    review.old_figures = find_old_figures(head)
    return review


def find_stale_reasons(revision: Revision) -> list[str]:
    """Return why stages would run again at a revision; a commit is checked out into a clone without data."""
    if revision.commit is None:
        return [str(stale) for stale in find_stale_stages(revision.root)]
    subfolder = (git(revision.root, "rev-parse", "--show-prefix") or "").removesuffix("\n")  # empty at the top level
    with tempfile.TemporaryDirectory() as folder:
        _check_out(revision, Path(folder))
        return [str(stale) for stale in find_stale_stages(Path(folder) / subfolder)]


def _check_out(revision: Revision, folder: Path) -> None:
    """Check a commit out into a repository without a history of its own: a clone of a shallow clone may lack it."""
    objects = (git(revision.root, "rev-parse", "--git-path", "objects") or "").removesuffix("\n")
    git(folder, "init", "--quiet")
    (folder / ".git/objects/info/alternates").write_text(f"{(revision.root / objects).resolve()}\n", encoding="utf-8")
    if git(folder, "checkout", "--quiet", "--detach", str(revision.commit)) is None:
        raise MarketplaceError(
            f"Git cannot check {revision.label} out into {folder}: `git fsck` tells whether the commit is whole here."
        )


def _read_noise(review: Review) -> dict[str, Any] | None:
    """Return the noise to judge by; None, with a note, if there is none."""
    noise = _choose_judge(review, NOISE).json(NOISE)
    if noise is None:
        review.notes.append(f"There is no `{NOISE}` (`make noise` writes it): only the tolerances count as noise.")
    elif noise["training_data"] != training_data_hash(review.base.stages):
        review.notes.append(f"`{NOISE}` was measured with other training data: run `make noise` again.")
    return noise


def _judge_metrics(review: Review, noise: dict[str, Any] | None) -> None:
    policy = read_policy(_choose_judge(review, POLICY))
    if not policy:
        review.incomparable = f"there is no `{POLICY}` that defines better and worse"
    base = _read_metrics(review.base)
    head = _read_metrics(review.head)
    if not base:
        review.notes.append(f"{escape(review.base.label)} has no metrics: `{SUMMARY}` is missing or empty.")
    elif not head:
        review.problems.append(f"{escape(review.head.label)} has no metrics: `{SUMMARY}` is missing or empty")
        return
    review.verdicts = judge_metrics(base, head, policy, noise)


def _read_metrics(revision: Revision) -> Mapping[str, Any]:
    """Return the metrics of a revision; none if their file is missing or holds something else."""
    metrics = revision.json(SUMMARY)
    return metrics if isinstance(metrics, Mapping) else {}


def _choose_judge(review: Review, path: str) -> Revision:
    """Return the revision whose file counts: the base, so that a change cannot loosen its own limits."""
    base_text = review.base.text(path)
    if base_text is None:
        return review.head
    if base_text != review.head.text(path):
        review.notes.append(f"`{path}` differs: this review used the base's.")
    return review.base


def _compare_categories(review: Review) -> None:
    tables = _read_both(review, PER_CATEGORY, "the accuracy by category")
    if not tables:
        return
    base, head = ({row.category: row for row in table} for table in tables)
    review.test_photos = {name: row.images for name, row in head.items()}
    changes = [Change(name=name, base=base[name].recall, head=head[name].recall) for name in head if name in base]
    review.categories = select_extremes(changes)
    for revision, own, others in ((review.head, head, base), (review.base, base, head)):
        unique = sorted(set(own) - set(others))
        if unique:
            review.notes.append(f"Only {escape(revision.label)} has the categories {escape(', '.join(unique))}.")


def _find_incomparability(review: Review, base_counts: Mapping[str, Any], head_counts: Mapping[str, Any]) -> str:
    """Return why the metrics of both sides answer different questions; empty if they answer the same."""
    tables = [_read_compared(revision, PER_CATEGORY) or [] for revision in (review.base, review.head)]
    before, after = ({row.category: row.images for row in table} for table in tables)
    if before and after and set(before) != set(after):
        return "their categories differ"
    base_photos = base_counts.get(TEST_PHOTOS)
    head_photos = head_counts.get(TEST_PHOTOS)
    hashes_differ = None not in (base_photos, head_photos) and base_photos != head_photos
    numbers_differ = bool(before and after) and before != after
    return "they were measured on different test photos" if hashes_differ or numbers_differ else ""


def _read_both(review: Review, path: str, content: str) -> tuple[Any, Any] | None:
    """Return a JSON file of both revisions; None if one of them lacks it, or it is empty or of another form.

    That is a problem if only the head does: a review blocks nothing that the base lacks as well.
    """
    base = _read_compared(review.base, path)
    head = _read_compared(review.head, path)
    lack = f"has no `{path}`, or it is empty or in another form"
    if not base:
        review.notes.append(f"Not computed: {content}, because {escape(review.base.label)} {lack}.")
    elif not head:
        review.problems.append(f"{escape(review.head.label)} {lack}: {content} cannot be compared")
    return (base, head) if base and head else None


def _read_compared(revision: Revision, path: str) -> Any:
    """Return one of the files in SCHEMAS at a revision; None if it is missing, or of another form."""
    try:
        return SCHEMAS[path].validate_python(revision.json(path))
    except ValidationError:
        return None


def _compare_catalogues(review: Review) -> Overlap | None:
    """Compare the recommendations of all products; None, with a note, if DVC's cache lacks one of the tables."""
    base = recommendations_of(review.base)
    head = recommendations_of(review.head)
    if base is None or head is None:
        review.notes.append(
            "Not computed: the recommendations of all products, because this machine lacks a version of "
            f"`{RECOMMENDATIONS}` (`dvc fetch recommend` at either revision gets it). The tracked products are "
            "compared instead."
        )
        return None
    return compare_recommendations(_without_names(base), _without_names(head))


def _without_names(recommendations: dict[str, list[str]]) -> dict[str, Recommended]:
    return {
        product_id: Recommended(name="", category="", similar=similar_ids)
        for product_id, similar_ids in recommendations.items()
    }


def _describe_blocker(verdict: Verdict) -> str:
    if verdict.outcome is not Outcome.WORSE:
        return f"{escape(verdict.metric)} is {verdict.outcome}"
    change = abs((verdict.head or 0) - (verdict.base or 0))
    metric = escape(verdict.metric)
    return f"{metric} got worse by {change:.4f}, more than noise and policy allow ({verdict.band:.4f})"
