"""A review as Markdown: the verdict first, then the reasons for it."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from marketplace.review.changes import Change, Overlap, StageChange
from marketplace.review.comparison import Review
from marketplace.review.escaping import code, escape
from marketplace.review.held_out import HeldOutDifference
from marketplace.review.judged import JudgedComparison, JudgedDifference
from marketplace.review.pictures import link_pictures, link_recommendations
from marketplace.review.verdicts import Outcome, Verdict

MOST_QUESTIONS = 10_000  # more are not counted
QUESTIONS = {"product": "a product", "photo": "one photo", "words": "words"}  # by kind
JUDGED_COLUMNS = (
    "question",
    "metric",
    "base:",
    "head:",
    "change:",
    "95 % interval:",
    "seeds:",
    "questions:",
    "needed:",
)
NOT_COMPUTED = "Not computed: see the notes."
SIGNS = {
    Outcome.BETTER: "🟢 better",
    Outcome.WORSE: "🔴 worse",
    Outcome.NOISE: "⚪ within noise",
    Outcome.SAME: "unchanged",
    Outcome.NEW: "new",
    Outcome.MISSING: "🔴 missing",
    Outcome.NOT_A_NUMBER: "🔴 not a number",
    Outcome.INCOMPARABLE: "not comparable",
}


def format_review(review: Review, *, folded: bool = True) -> str:
    """Return the whole page: verdict, metrics and parameters, then the rest in sections.

    On GitHub they are `folded`, as HTML. A terminal, which is narrower, has lists in place of the widest tables.
    """
    fold = _fold if folded else _section
    stages = _format_stages(review.stages) if folded else _list_stages(review.stages)
    sections = [
        f"## Review of {code(review.head.label)} against {code(review.base.label)}",
        _format_headline(review),
        _format_list(f"⛔ {reason}" for reason in review.blockers),
        _format_metrics(review.verdicts),
        _section("Judged relevance", _format_judged(review.judged, as_table=folded)),
        _section("Test products", _format_held_out(review.held_out)),
        _section("Parameters", _format_params(review.params) or "No parameter changed."),
        _section("Pictures that changed", link_pictures(review)),
        fold("Stages whose outputs changed, and why", stages or "No stage's outputs changed."),
        fold("Categories with the largest changes", _format_categories(review) or "No category's accuracy changed."),
        fold("Data", _format_counts(review.counts) or "Cleaning kept and rejected the same data."),
        fold("Recommendations that changed", _format_recommendations(review)),
        fold("Figures in metrics/market", _format_list(review.old_figures)),
        fold("Notes", _format_list(review.notes)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def format_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; columns whose name ends with `:` are aligned to the right."""
    titles = [column.removesuffix(":") for column in columns]
    marks = ["---:" if column.endswith(":") else "---" for column in columns]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (titles, marks, *rows))


def _format_headline(review: Review) -> str:
    if review.incomparable and not review.blockers:
        return f"**Verdict: not comparable**, because {review.incomparable}. The figures of each side stand alone."
    counts = Counter(verdict.outcome for verdict in review.verdicts)
    parts = [f"**Verdict: {_choose_verdict(review, counts)}.**"]
    if review.differs_by_rounding:
        parts.append("Code, parameters and data are the same; another processor rounds differently.")
    if counts:
        outcomes = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome])
        parts.append(f"Of {len(review.verdicts)} metrics: {outcomes}.")
    return " ".join(parts)


def _choose_verdict(review: Review, counts: Counter[Outcome]) -> str:
    better = counts[Outcome.BETTER]
    worse = counts[Outcome.WORSE]
    if review.blockers:
        return "blocked"
    if review.differs_by_rounding:
        return "changed by rounding alone" if better or worse else "the same within rounding"
    if better and worse:
        return "better and worse"
    if better:
        return "better"
    if worse:
        return "worse, but nothing blocks"
    return "within noise" if counts[Outcome.NOISE] else "unchanged"


def _format_metrics(verdicts: Sequence[Verdict]) -> str:
    rows = [
        [
            code(verdict.metric),
            _format_figure(verdict.base),
            _format_figure(verdict.head),
            _format_gain(verdict),
            f"±{verdict.band:.4f}",
            SIGNS[verdict.outcome] + (" ⛔" if verdict.blocks else ""),
        ]
        for verdict in verdicts
    ]
    return format_table(["metric", "base:", "head:", "change:", "band:", "verdict"], rows) if rows else ""


def _format_judged(judged: JudgedComparison | None, *, as_table: bool) -> str:
    if judged is None:
        return ""
    parts = [*judged.remarks]
    if judged.differences:
        rows = list(map(_format_difference, judged.differences))
        explanation = (
            "*Interval*: the change with other questions (paired bootstrap). *Seeds*: the change that another seed of "
            "training explains. *Needed*: the questions that would show a change of this size (two-sided 5 %, power "
            "80 %)."
        )
        parts = [format_table(JUDGED_COLUMNS, rows) if as_table else _list_differences(rows), explanation, *parts]
    return "\n\n".join(parts)


def _format_held_out(differences: Sequence[HeldOutDifference]) -> str:
    if not differences:
        return ""
    rows = [
        [
            code(row.metric),
            f"{row.mean:+.4f}",
            f"{row.low:+.4f} to {row.high:+.4f}",
            "not measured" if row.band is None else f"±{row.band:.4f}",
            f"{row.changed} of {row.products}",
            ("better" if row.mean > 0 else "worse") if row.is_shown else "may be chance",
        ]
        for row in differences
    ]
    explanation = (
        "*Interval*: how far the change depends on the test products (paired bootstrap). If it includes 0, the change "
        "may be chance, whatever the verdict above. *Seeds*: the change that another seed of training explains."
    )
    columns = ["metric", "change:", "95 % interval:", "seeds:", "changed:", "verdict"]
    return f"{format_table(columns, rows)}\n\n{explanation}"


def _list_differences(rows: Iterable[Sequence[str]]) -> str:
    return _format_list(
        f"{question}, {metric}: {base} → {head}, change {change}\\\n"
        f"  interval {interval}; seeds {seeds}; questions {questions}, needed {needed}"
        for question, metric, base, head, change, interval, seeds, questions, needed in rows
    )


def _format_difference(row: JudgedDifference) -> list[str]:
    difference = row.difference
    cells = [QUESTIONS[row.kind], f"`{row.metric}`"]
    if not difference.questions:  # nDCG, if no question has a gain
        return [*cells, "–", "–", "–", "–", "–", "0", "–"]
    return [
        *cells,
        _format_figure(difference.base),
        _format_figure(difference.head),
        f"{difference.mean:+.4f}",
        f"{difference.low:+.4f} to {difference.high:+.4f}",
        "not measured" if row.band is None else f"±{row.band:.4f}",
        str(difference.questions),
        _format_needed(difference.needed),
    ]


def _format_needed(n_questions: float) -> str:
    if math.isinf(n_questions):  # there is no difference, or a single question
        return "–"
    return f"{n_questions:,}" if n_questions <= MOST_QUESTIONS else f"more than {MOST_QUESTIONS:,}"


def _format_params(params: Sequence[Change]) -> str:
    rows = [[code(change.name), _format_value(change.base), _format_value(change.head)] for change in params]
    return format_table(["parameter", "base", "head"], rows) if rows else ""


def _format_stages(stages: Sequence[StageChange]) -> str:
    rows = [[code(change.stage), ", ".join(map(code, change.outputs)), _format_reasons(change)] for change in stages]
    return format_table(["stage", "outputs", "because of"], rows) if rows else ""


def _list_stages(stages: Sequence[StageChange]) -> str:
    return _format_list(
        f"**{escape(change.stage)}**, because of {_format_reasons(change)}\\\n"
        f"  outputs {', '.join(map(code, change.outputs))}"
        for change in stages
    )


def _format_reasons(change: StageChange) -> str:
    if not change.reasons:
        return "nothing in `dvc.lock`: other libraries or another machine"
    return "; ".join(f"{kind} {', '.join(map(code, names))}" for kind, names in change.reasons.items())


def _format_categories(review: Review) -> str:
    if review.categories is None:
        return NOT_COMPUTED
    rows = [
        [
            escape(change.name),
            f"{change.base:.3f}",
            f"{change.head:.3f}",
            f"{change.gain:+.3f}",
            str(review.test_photos[change.name]),
        ]
        for change in review.categories
    ]
    return format_table(["category", "base:", "head:", "change:", "test photos:"], rows) if rows else ""


def _format_counts(counts: Sequence[Change] | None) -> str:
    if counts is None:
        return NOT_COMPUTED
    rows = [
        [code(change.name), _format_value(change.base), _format_value(change.head), f"{change.gain:+g}"]
        for change in counts
    ]
    return format_table(["count", "base:", "head:", "change:"], rows) if rows else ""


def _format_recommendations(review: Review) -> str:
    parts = []
    if review.catalogue_overlap:
        parts.append(_format_overlap(review.catalogue_overlap, f"all {review.catalogue_overlap.products:,} products"))
    if review.tracked_overlap:
        parts.append(_format_overlap(review.tracked_overlap, f"the {review.tracked_overlap.products} tracked products"))
        rows = [
            [
                escape(product.name),
                escape(product.category),
                code(product.product_id),
                f"{product.share:.0%}",
                link_recommendations(review, product.product_id),
            ]
            for product in review.tracked_overlap.least
        ]
        columns = ["changed most", "category", "id", "the same:", "photos"]
        if rows and not any(links for *_, links in rows):
            columns = columns[:-1]
            rows = [row[:-1] for row in rows]
        if rows:
            parts.append(format_table(columns, rows))
    return "\n\n".join(parts) or NOT_COMPUTED


def _format_overlap(overlap: Overlap, products: str) -> str:
    return (
        f"**{overlap.share:.1%}** of the recommendations of {products} stayed the same; "
        f"{overlap.unchanged:,} products kept all of theirs."
    )


def _section(title: str, body: str) -> str:
    return f"### {title}\n\n{body}" if body else ""


def _fold(title: str, body: str) -> str:
    return f"<details><summary><b>{title}</b></summary>\n\n{body}\n\n</details>" if body else ""


def _format_list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _format_figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _format_gain(verdict: Verdict) -> str:
    return "–" if verdict.base is None or verdict.head is None else f"{verdict.head - verdict.base:+.4f}"


def _format_value(value: object) -> str:
    return "–" if value is None else code(str(value))
