"""The judged quality of two revisions, question by question."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ValidationError

from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.judged import KINDS, METRICS, Kind
from marketplace.recommendation.metrics import JUDGED_PREFIXES
from marketplace.relevance.judgements import JUDGEMENTS, SEARCHES
from marketplace.relevance.uncertainty import PairedDifference, compare_pairs
from marketplace.review.escaping import escape
from marketplace.review.files import JUDGED
from marketplace.review.noise import noise_band
from marketplace.review.revisions import Revision


class JudgedQuestion(BaseModel):
    """The quality of the answer to one judged question; nDCG is None for a question without any gain."""

    split: Literal["val", "test"]
    good_at_6: float
    ndcg_at_8: float | None


class JudgedFile(BaseModel):
    """The part of metrics/judged.json that a review reads."""

    questions: dict[Kind, dict[str, JudgedQuestion]]


@dataclass(frozen=True)
class JudgedDifference:
    """The difference between two revisions in a metric of one kind of question."""

    kind: Kind
    metric: str
    difference: PairedDifference
    band: float | None  # the largest difference that another seed of training explains; None: not measured


@dataclass(frozen=True)
class JudgedComparison:
    """The differences in judged quality, and remarks on them or on why there are none."""

    differences: list[JudgedDifference] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def compare_judged(base: Revision, head: Revision, noise: dict[str, Any] | None) -> JudgedComparison | None:
    """Compare the questions of the test split that are judged at both revisions; None if neither has judgements.

    Raises MarketplaceError if a metrics/judged.json is malformed.
    """
    before = read_questions(base)
    after = read_questions(head)
    if not before and not after:
        return None
    if not before or not after:
        judged, other = (base, head) if before else (head, base)
        return JudgedComparison(
            remarks=[f"Only {escape(judged.label)} has judged questions: {escape(other.label)} has none to compare."]
        )
    differences = []
    for kind in KINDS:
        pairs = _pair(before.get(kind, {}), after.get(kind, {}))
        if not pairs:
            continue
        for metric in METRICS:
            values = np.array([[getattr(row, metric) for row in pair] for pair in pairs], dtype=float)  # None is NaN
            difference = JudgedDifference(
                kind=kind,
                metric=metric,
                difference=compare_pairs(values[:, 0], values[:, 1]),
                band=noise_band(noise, f"{JUDGED_PREFIXES[kind]}{metric}") if noise else None,
            )
            differences.append(difference)
    remarks = [
        f"`{path}` differs: other grades may explain a part of the differences."
        for path in (JUDGEMENTS, SEARCHES)
        if base.text(path) != head.text(path)
    ]
    if not differences:
        remarks.insert(0, "No question of the test split is judged at both revisions.")
    return JudgedComparison(differences=differences, remarks=remarks)


def questions_of_test(questions: Mapping[Kind, Mapping[str, JudgedQuestion]], kind: Kind) -> list[JudgedQuestion]:
    """Return the judged questions of a kind in the test split, from the result of `read_questions`."""
    return [question for question in questions.get(kind, {}).values() if question.split == "test"]


def read_questions(revision: Revision) -> dict[Kind, dict[str, JudgedQuestion]]:
    """Return the quality of every judged question of a revision, by kind; none if it has no such file.

    Raises MarketplaceError if its metrics/judged.json is malformed.
    """
    content = revision.json(JUDGED)
    if content is None:
        return {}
    try:
        return JudgedFile.model_validate(content).questions
    except ValidationError as error:
        mistake = error.errors()[0]
        place = ".".join(map(str, mistake["loc"])) or "its content"
        raise MarketplaceError(
            f"{JUDGED} of {revision.name} is malformed: {place}: {mistake['msg']}. `dvc repro recommend` writes it "
            "again."
        ) from error


def _pair(
    base: Mapping[str, JudgedQuestion], head: Mapping[str, JudgedQuestion]
) -> list[tuple[JudgedQuestion, JudgedQuestion]]:
    """Return the questions that belong to the test split at both revisions, in the order of `base`."""
    pairs = [(judged, head[question]) for question, judged in base.items() if question in head]
    return [(judged, other) for judged, other in pairs if judged.split == other.split == "test"]
