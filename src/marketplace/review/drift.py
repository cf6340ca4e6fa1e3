"""Results that differ from the committed ones by rounding alone, as on a machine with another processor."""

from rich.table import Table

from marketplace.common.console import table_console
from marketplace.review.comparison import Review
from marketplace.review.terminal import print_csv, print_json, short_name
from marketplace.review.verdicts import Outcome, Verdict

N_SHOWN = 3  # metrics; --json and --csv have all
SMALLEST_BAND = 1e-9
COLUMNS = ("metric", "committed", "here", "noise", "verdict")


def find_drift(review: Review) -> list[Verdict]:
    """Return the metrics that rounding changed; none if code, parameters or data differ as well."""
    if not review.differs_by_rounding:
        return []
    return [
        verdict
        for verdict in review.verdicts
        if None not in (verdict.base, verdict.head) and verdict.base != verdict.head
    ]


def export_drift(review: Review, file_format: str) -> None:
    """Print the metrics that rounding changed as "json" or "csv"."""
    rows = [
        {"metric": row.metric, "committed": row.base, "here": row.head, "noise": row.band, "verdict": str(row.outcome)}
        for row in find_drift(review)
    ]
    if file_format == "json":
        print_json(rows)
    else:
        print_csv(COLUMNS, rows)


def print_drift(review: Review) -> None:
    """Explain how far this machine's results are from the base's if only rounding differs; print nothing otherwise."""
    if not review.differs_by_rounding:
        return
    console = table_console()
    console.print(
        "`git status` is not clean because this machine rounds differently from the commit's: it has another processor "
        "or another number of cores. Code, parameters and data are the same.\n"
    )
    drift = find_drift(review)
    if drift:
        largest = sorted(drift, key=lambda row: -abs((row.head or 0) - (row.base or 0)) / max(row.band, SMALLEST_BAND))
        console.print(_table(largest[:N_SHOWN]))
        console.print(f"\n{_summarise(drift)}")
    else:
        console.print("The metrics are the same.")
    console.print("\nTo keep these results as your baseline: git commit -am 'Results of this machine'")


def _summarise(drift: list[Verdict]) -> str:
    """Return how many metrics differ, and how many of them by more than noise."""
    differ = "1 metric differs" if len(drift) == 1 else f"{len(drift)} metrics differ"
    largest = f"; these {N_SHOWN} changed most, as a multiple of their noise" if len(drift) > N_SHOWN else ""
    n_beyond = sum(row.outcome is not Outcome.NOISE for row in drift)
    return f"{differ}{largest}. Beyond noise: {n_beyond or 'none'}."


def _table(drift: list[Verdict]) -> Table:
    table = Table("metric", box=None, pad_edge=False, header_style="bold")
    for column in ("committed", "here", "change", "noise"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for row in drift:
        change = (row.head or 0) - (row.base or 0)
        figures = (f"{row.base:.4f}", f"{row.head:.4f}", f"{change:+.4f}", f"±{row.band:.4f}")
        table.add_row(short_name(row.metric), *figures, str(row.outcome))
    return table
