"""The metrics of the last commits that changed them, and of the working tree."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.judged import KINDS, METRICS
from marketplace.recommendation.metrics import JUDGED_PREFIXES
from marketplace.relevance.uncertainty import bootstrap_interval
from marketplace.review.files import COUNTS, JUDGED, SUMMARY
from marketplace.review.judged import questions_of_test, read_questions
from marketplace.review.revisions import WORKSPACE, Revision, git

FIELD = "\x1f"  # between the fields of a commit


@dataclass(frozen=True)
class Results:
    """The metrics of a revision."""

    name: str  # the first digits of the commit, or `workspace`
    date: str
    subject: str
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # of the judged metrics
    test_photos: str = ""  # a hash; results on others cannot be compared


def read_trend(root: Path, n_commits: int) -> list[Results]:
    """Return the results of the last commits that changed metrics/summary.json, oldest first, then uncommitted ones.

    Commits whose results cannot be read are left out. Without a Git history, only the working tree has results.
    """
    log_format = f"--format=%h{FIELD}%cs{FIELD}%s"
    listing = git(root, "log", f"--max-count={n_commits}", log_format, "--", SUMMARY) or ""
    results = []
    for line in reversed(listing.splitlines()):
        commit, date, subject = line.split(FIELD, 2)
        results.append(_read(Revision(root=root, name=commit, commit=commit), date, subject))
    if not results or git(root, "status", "--porcelain", "--", SUMMARY, JUDGED):
        results.append(_read(Revision.of(root, WORKSPACE), "", "not committed"))
    return [entry for entry in results if entry.metrics]


def judged_intervals(revision: Revision) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each judged metric of the test split, by bootstrap over the questions."""
    questions = read_questions(revision)
    intervals = {}
    for kind in KINDS:
        in_test = questions_of_test(questions, kind)
        for metric in METRICS:
            low, high = bootstrap_interval(np.array([getattr(row, metric) for row in in_test], dtype=float))
            if math.isfinite(low):
                intervals[f"{JUDGED_PREFIXES[kind]}{metric}"] = (low, high)
    return intervals


def _read(revision: Revision, date: str, subject: str) -> Results:
    return Results(
        name=revision.name,
        date=date,
        subject=subject,
        metrics=_finite_numbers(_read_json(revision, SUMMARY)),
        intervals=_read_intervals(revision),
        test_photos=str(_read_json(revision, COUNTS).get("test_photos_sha256", "")),
    )


def _finite_numbers(values: Mapping[str, Any]) -> dict[str, float]:
    numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}


def _read_json(revision: Revision, path: str) -> Mapping[str, Any]:
    """Return a JSON object, an empty one if the revision has none: an old commit cannot be repaired."""
    try:
        content = revision.json(path)
    except MarketplaceError:
        return {}
    return content if isinstance(content, Mapping) else {}


def _read_intervals(revision: Revision) -> dict[str, tuple[float, float]]:
    try:
        return judged_intervals(revision)
    except MarketplaceError:  # an older schema
        return {}
