"""A review as Markdown: first the verdict, then what explains it."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from marketplace.review.changes import Change, Overlap, StageChange
from marketplace.review.comparison import Review
from marketplace.review.pictures import picture_links
from marketplace.review.verdicts import Outcome, Verdict

NOT_COMPUTED = "Not computed: see the end."
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


def markdown(review: Review) -> str:
    """The whole page: verdict, metrics and parameters, then the rest, folded."""
    sections = [
        f"## Review of `{review.head.label}` against `{review.base.label}`",
        _headline(review),
        _list(f"⛔ {reason}" for reason in review.blocking),
        _metrics(review.verdicts),
        _section("Parameters", _params(review.params), "No parameter changed."),
        _section("Pictures of what moved", picture_links(review), ""),
        _folded("Stages whose outputs changed, and why", _stages(review.stages), "No stage has other outputs."),
        _folded("Categories that gained and lost most", _categories(review), "No category's accuracy changed."),
        _folded("Data", _counts(review.counts), "Cleaning kept and left out the same."),
        _folded("Recommendations that changed", _recommendations(review), ""),
        _folded("Good to know", _list(review.notes), ""),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def sentence(review: Review) -> str:
    """Why results that were just computed are not those of the base, and how far from them; empty if they are."""
    if not review.rounding:
        return ""
    moved = [verdict for verdict in review.verdicts if verdict.base is not None and verdict.base != verdict.head]
    figures = ", ".join(f"{one.metric} {_figure(one.head)} instead of {_figure(one.base)}" for one in moved)
    beyond = [one.metric for one in moved if one.outcome in (Outcome.BETTER, Outcome.WORSE)]
    chance = f"beyond the noise of the random seed: {', '.join(beyond)}" if beyond else "all within the seed's noise"
    return (
        "`git status` is not clean, since this machine rounds otherwise than the one of the commit: another processor, "
        "or another number of cores. Code, parameters and data are the same.\n"
        + (f"{figures} ({chance}).\n" if figures else "The metrics are the same.\n")
        + "To keep these results as your baseline: git commit -am 'Results of this machine'"
    )


def escaped(text: str) -> str:
    """Text of a listing escaped, so that Markdown shows it literally, on one line, and it mentions nobody."""
    unlinked = re.sub(r"([@#])", "\\1\N{ZERO WIDTH SPACE}", " ".join(text.split()))
    return re.sub(r"([\\`*_{}\[\]()#+!|<>~$&-])", r"\\\1", unlinked)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; columns whose name ends with `:` are aligned to the right."""
    titles = [column.removesuffix(":") for column in columns]
    marks = ["---:" if column.endswith(":") else "---" for column in columns]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (titles, marks, *rows))


def _headline(review: Review) -> str:
    counts = Counter(verdict.outcome for verdict in review.verdicts)
    said = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome])
    better, worse = counts[Outcome.BETTER], counts[Outcome.WORSE]
    if review.blocking:
        word = "blocked"
    elif review.incomparable:
        return f"**Verdict: the two cannot be compared**, as {review.incomparable}. The figures are of each for itself."
    elif review.rounding:
        word = "the same within rounding" if not worse and not better else "moved by rounding alone"
    elif better and worse:
        word = "better and worse"
    else:
        moved = "within noise" if counts[Outcome.NOISE] else "unchanged"
        word = "better" if better else "worse, though nothing blocks" if worse else moved
    why = " Code, parameters and data are the same; another processor rounds otherwise." if review.rounding else ""
    return f"**Verdict: {word}.**{why}" + (f" Of {len(review.verdicts)} metrics: {said}." if said else "")


def _metrics(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    rows = [
        [
            f"`{verdict.metric}`",
            _figure(verdict.base),
            _figure(verdict.head),
            _gain(verdict),
            f"±{verdict.band:.4f}",
            SIGNS[verdict.outcome] + (" ⛔" if verdict.blocks else ""),
        ]
        for verdict in verdicts
    ]
    return table(["metric", "base:", "head:", "change:", "band:", "verdict"], rows)


def _params(params: Sequence[Change]) -> str:
    rows = [[f"`{change.name}`", _value(change.base), _value(change.head)] for change in params]
    return table(["parameter", "base", "head"], rows) if rows else ""


def _stages(stages: Sequence[StageChange]) -> str:
    rows = [
        [f"`{change.stage}`", ", ".join(f"`{path}`" for path in change.outputs), _reasons(change)] for change in stages
    ]
    return table(["stage", "outputs", "because of"], rows) if rows else ""


def _reasons(change: StageChange) -> str:
    if not change.reasons:
        return "nothing that `dvc.lock` records: other libraries or another machine"
    return "; ".join(f"{kind} {', '.join(f'`{name}`' for name in names)}" for kind, names in change.reasons.items())


def _categories(review: Review) -> str:
    if review.categories is None:
        return NOT_COMPUTED
    rows = [
        [
            escaped(change.name),
            f"{change.base:.3f}",
            f"{change.head:.3f}",
            f"{change.gained:+.3f}",
            str(review.test_photos[change.name]),
        ]
        for change in review.categories
    ]
    return table(["category", "base:", "head:", "change:", "test photos:"], rows) if rows else ""


def _counts(counts: Sequence[Change] | None) -> str:
    if counts is None:
        return NOT_COMPUTED
    rows = [[f"`{change.name}`", _value(change.base), _value(change.head), f"{change.gained:+g}"] for change in counts]
    return table(["count", "base:", "head:", "change:"], rows) if rows else ""


def _recommendations(review: Review) -> str:
    lines = []
    if review.catalogue_overlap:
        lines.append(_share(review.catalogue_overlap, "all"))
    if review.tracked_overlap:
        lines.append(_share(review.tracked_overlap, "the tracked"))
        rows = [
            [escaped(moved.name), escaped(moved.category), f"`{moved.product_id}`", f"{moved.share:.0%}"]
            for moved in review.tracked_overlap.least
        ]
        if rows:
            lines.append(table(["moved most", "category", "id", "stayed:"], rows))
    return "\n\n".join(lines) or NOT_COMPUTED


def _share(overlap: Overlap, whose: str) -> str:
    return (
        f"Of {whose} {overlap.products:,} products, **{overlap.share:.1%}** of their recommendations stayed the same; "
        f"{overlap.unchanged:,} products kept all of them."
    )


def _section(title: str, body: str, otherwise: str) -> str:
    return f"### {title}\n\n{body or otherwise}" if body or otherwise else ""


def _folded(title: str, body: str, otherwise: str) -> str:
    shown = body or otherwise
    return f"<details><summary><b>{title}</b></summary>\n\n{shown}\n\n</details>" if shown else ""


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _gain(verdict: Verdict) -> str:
    return "–" if verdict.base is None or verdict.head is None else f"{verdict.head - verdict.base:+.4f}"


def _value(value: object) -> str:
    return "–" if value is None else f"`{value}`"
