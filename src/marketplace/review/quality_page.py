"""reports/quality.html: one page about the quality of the recommendations, for whoever decides about them.

`marketplace report` writes it, not a stage: its trend comes from Git's history, which every commit changes, while the
output of a stage follows from its dependencies alone.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.metrics import CLOSE_ENOUGH
from marketplace.relevance.metrics import GOOD_DEPTH
from marketplace.relevance.uncertainty import MIN_SAMPLE, RESAMPLES
from marketplace.reports.pages import write_page
from marketplace.review.drawing import Drawing, draw
from marketplace.review.files import SUMMARY
from marketplace.review.judged import read_questions
from marketplace.review.quality import (
    Table,
    choose_examples,
    summarise_categories,
    summarise_judged,
)
from marketplace.review.revisions import WORKSPACE, Revision
from marketplace.review.trend import Results, read_trend

TEMPLATE = Path(__file__).parent / "templates" / "quality.html"
N_COMMITS = 20
LABELS = {  # the metrics of metrics/summary.json that the page shows, in plain words
    "good_at_6": f"of the first {GOOD_DEPTH} for a product, people call good",
    "photo_good_at_6": f"of the first {GOOD_DEPTH} for a photo, people call good",
    "words_good_at_6": f"of the first {GOOD_DEPTH} for a search, people call good",
    "three_close": "of products have three close recommendations",
    "close_precision": "of the close ones, people call good",
    "coverage": "of products are recommended for another",
    "category_agreement": "of recommendations are in the product's root category",
    "same_product_recall_at_10": "of products are found by another photo (first ten)",
    "product_accuracy": "of products get their category from photos and words",
}
HEADLINES = ("three_close", "good_at_6", "photo_good_at_6", "words_good_at_6", "close_precision", "coverage")
GREEN = "#3a9a6a"  # legible on light and on dark
GREY = "#8b9098"


@dataclass(frozen=True)
class Chart:
    """The values of a metric over the commits."""

    label: str
    latest: float
    drawing: Drawing


def write_quality_page(root: Path, path: Path) -> None:
    """Write the page about the results in the working tree.

    Without the tables and photos that DVC versions, it has no categories and no examples, and says so. Raises
    MarketplaceError if the pipeline has not run, or a file of metrics is malformed.
    """
    tree = Revision.of(root, WORKSPACE)
    if not tree.json(SUMMARY):
        raise MarketplaceError(f"{SUMMARY} is missing or empty: run `dvc repro` first.")
    trend = read_trend(root, N_COMMITS)
    now = trend[-1]
    questions = read_questions(tree)
    table = Table.read(root)
    of_products = questions.get("product", {})
    path.parent.mkdir(exist_ok=True)
    headlines = [
        (LABELS[name], now.metrics[name], now.intervals.get(name)) for name in HEADLINES if name in now.metrics
    ]
    write_page(
        path,
        TEMPLATE,
        headlines=headlines,
        judged=summarise_judged(questions),
        categories=summarise_categories(tree, table, of_products) if table else [],
        examples=choose_examples(root, table, of_products) if table else None,
        trend=trend,
        charts=draw_charts(trend),
        comparable=len({results.test_photos for results in trend}) == 1,
        labels=LABELS,
        close_enough=CLOSE_ENOUGH,
        depth=GOOD_DEPTH,
        resamples=RESAMPLES,
        min_questions=MIN_SAMPLE,
        percent=percent,
    )


def percent(share: float) -> str:
    """Return a share in percent, never rounded to none or all.

    >>> percent(0.756), percent(0.9985), percent(1.0)
    ('76 %', '99.9 %', '100 %')
    """
    whole = f"{100 * share:.0f}"
    return f"{100 * share:.1f} %" if whole in ("0", "100") and share not in (0, 1) else f"{whole} %"


def draw_charts(trend: list[Results]) -> list[Chart]:
    """Draw each metric that the newest results have, if others have it too."""
    charts = []
    for name, label in LABELS.items():
        rows = _chart_rows(trend, name)
        if len(rows) > 1 and name in trend[-1].metrics:
            charts.append(Chart(label=label, latest=trend[-1].metrics[name], drawing=draw(_specify(rows, len(trend)))))
    return charts


def _chart_rows(trend: list[Results], metric: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    photos = [results.test_photos for results in trend]
    for place, results in enumerate(trend):
        if metric not in results.metrics:
            continue
        value = results.metrics[metric]
        low, high = results.intervals.get(metric, (value, value))
        measured_on = sum(before != after for before, after in pairwise(photos[: place + 1]))
        rows.append({"place": place, "value": value, "low": low, "high": high, "measured_on": measured_on})
    return rows


def _specify(rows: list[dict[str, object]], n_results: int) -> dict[str, object]:
    """Return a Vega-Lite plot: lines connect results that can be compared, and rules are intervals."""
    x = {"field": "place", "type": "quantitative", "axis": None, "scale": {"domain": [-0.5, n_results - 0.5]}}
    y = {"field": "value", "type": "quantitative", "scale": {"zero": False, "nice": True}}
    axis = {"format": ".1%", "title": None, "tickCount": 4, "domain": False, "ticks": False, "gridOpacity": 0.4}
    return {
        "width": 230,
        "height": 110,
        "data": {"values": rows},
        "config": {"view": {"stroke": None}},
        "encoding": {"x": x},
        "layer": [
            {
                "mark": {"type": "rule", "color": GREY, "strokeWidth": 2, "opacity": 0.5},
                "encoding": {"y": y | {"field": "low", "axis": axis}, "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "line", "color": GREEN},
                "encoding": {"y": y | {"axis": axis}, "detail": {"field": "measured_on"}},
            },
            {
                "mark": {"type": "point", "color": GREEN, "filled": True, "size": 40, "opacity": 1},
                "encoding": {"y": y | {"axis": axis}},
            },
        ],
    }
