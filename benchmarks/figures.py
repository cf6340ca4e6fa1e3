"""Write the tables of README and docs anew, from the files that hold their figures.

    python benchmarks/figures.py

A page says with `<!-- figures: NAME -->` where a table begins, and with `<!-- end -->` where it ends. The tables in
TABLES are made from the judged figures of a real marketplace and from the pipeline's own metrics. Every other NAME is a
file in metrics/market with the table of a benchmark, which `--json metrics/market/NAME.json` of that benchmark writes;
the pages follow by themselves.
"""

import json
import re
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from marketplace.review.markdown import format_table

ROOT = Path(__file__).parents[1]
MARKET = ROOT / "metrics/market"
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
BLOCK = re.compile(r"(<!-- figures: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
HEADLINES = ROOT / "metrics/market.json"  # `market.` tells its columns from those of metrics/summary.json
HEADLINE_NAMES = (
    "good_at_6",
    "ndcg_at_8",
    "photo_good_at_6",
    "photo_ndcg_at_8",
    "words_good_at_6",
    "words_ndcg_at_8",
    "close_precision",
    "same_product_recall_at_1",
    "product_accuracy",
    "accuracy",
)
KINDS = {"product": "a product", "photo": "one photo alone", "words": "words of a search"}
NETWORKS = {"untouched_projected": "the same network, whitened like ours", "untouched": "untouched"}
NAMES = {
    "close_precision": "close precision",
    "three_close": "three close",
    "same_product_recall_at_1": "same-product recall@1",
    "same_product_recall_at_10": "same-product recall@10",
    "category_agreement": "agreement of root categories",
    "leaf_agreement": "agreement of leaf categories",
    "category_precision_at_10": "root precision@10, photos alone",
    "leaf_precision_at_10": "leaf precision@10, photos alone",
    "product_accuracy": "product accuracy",
    "accuracy": "accuracy",
}
ABLATION_COLUMNS = {
    "photo_good_at_6": "one photo, good@6",
    "photo_ndcg_at_8": "one photo, nDCG@8",
    "product_ndcg_at_8": "product, nDCG@8",
    "same_product_recall_at_1": "recall@1",
    "leaf_precision_at_10": "leaf p@10",
    "accuracy": "accuracy",
}


def main() -> None:
    """Write the tables of every page, and print the pages that changed."""
    for page in refresh_pages():
        print(page.relative_to(ROOT))


def refresh_pages() -> list[Path]:
    """Write the headline figures for DVC, and the tables of every page; return the pages that changed."""
    HEADLINES.write_text(json.dumps(headlines(), indent=2) + "\n", encoding="utf-8")
    changed = []
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = refresh(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            changed.append(page)
    return changed


def refresh(text: str) -> str:
    """Return the text of a page with each of its tables written anew."""
    return BLOCK.sub(lambda match: f"{match[1]}{table_of(match[2])}\n{match[4]}", text)


def table_of(name: str) -> str:
    """Return the table of a name: made from figures, or as a benchmark has written it, with where it is from."""
    if name in TABLES:
        return TABLES[name]()
    results = read(MARKET / f"{name}.json")
    return f"{results['table']}\n\n{describe_origin(results)}"


def read(path: Path) -> Any:
    """Read a file of figures."""
    return json.loads(path.read_text(encoding="utf-8"))


def describe_origin(results: dict[str, Any]) -> str:
    """Say what was measured where; `results` are a file that a benchmark wrote."""
    return wrap(f"Commit {results['commit'][:7]}. {results['machine']}.")


def wrap(paragraph: str) -> str:
    """Break a paragraph into lines of a page."""
    return textwrap.fill(paragraph, width=120)


def headlines() -> dict[str, dict[str, float]]:
    """Return the main figures of the real marketplace, as README has them, for `dvc metrics`."""
    figures = read(MARKET / "results.json")["figures"]
    return {"market": {name: figures["summary"][name] for name in HEADLINE_NAMES}}


def market_summary() -> str:
    """Return the main figures of the real marketplace, for README."""
    figures = read(MARKET / "results.json")["figures"]
    judged = figures["judged"]
    of_test = {kind: judged[kind]["test"] for kind in KINDS}
    rows = [
        [name, f"{of_test[kind]['good_at_6']['mean']:.0%}", f"{of_test[kind]['ndcg_at_8']['mean']:.2f}"]
        for kind, name in KINDS.items()
    ]
    evaluation = figures["evaluate"]
    untouched = evaluation["untouched"]
    paragraphs = [
        f"A real marketplace of second-hand listings ({_size(figures)}), test split. People judged which candidates "
        f"are similar: those of {of_test['product']['questions']} products and "
        f"{of_test['words']['questions']} searches.",
        f"Of the recommendations that are marked as close, {figures['summary']['close_precision']:.0%} are real "
        "alternatives. A product's other photo is found first among all products in "
        f"{evaluation['same_product_recall_at_1']:.0%} of cases ({untouched['same_product_recall_at_1']:.0%} without "
        f"fine-tuning). Accuracy over {figures['clean']['categories']} categories: {evaluation['accuracy']:.0%} for "
        f"one photo, {evaluation['product_accuracy']:.0%} for a product with its words.",
    ]
    columns = ["similar to", "of the first six, real alternatives:", "nDCG@8:"]
    first, last = map(wrap, paragraphs)
    return "\n\n".join([first, format_table(columns, rows), last])


def market_size() -> str:
    """Return the numbers of products, photos and judged questions of the real marketplace."""
    figures = read(MARKET / "results.json")["figures"]
    judged = figures["judged"]
    in_val = judged["product"]["val"]["questions"]
    in_test = judged["product"]["test"]["questions"]
    searches = sum(split["questions"] for split in judged["words"].values())
    return wrap(
        f"{_size(figures)} of second-hand listings, in {figures['clean']['categories']} root categories, with titles "
        f"and descriptions as sellers wrote them. People judged the candidates of {in_val + in_test} products "
        f"({in_val} of the validation split, {in_test} of the test split) and of {searches} searches."
    )


def market_judged() -> str:
    """Return the judged quality of each kind of question, with intervals."""
    judged = read(MARKET / "results.json")["figures"]["judged"]
    rows = []
    for kind, name in KINDS.items():
        of_test = judged[kind]["test"]
        intervals = [format_interval(of_test[metric]) for metric in ("good_at_6", "ndcg_at_8")]
        rows.append([name, str(of_test["questions"]), *intervals])
    return format_table(["similar to", "judged questions:", "good@6:", "nDCG@8:"], rows)


def market_networks() -> str:
    """Return the metrics of the real marketplace, for the fine-tuned network and for untouched ones."""
    results = read(MARKET / "results.json")
    figures = results["figures"]
    origin = f"Machine: {results['machine']}."
    if "commit" in results:
        origin = f"Commit {results['commit'][:7]}, seed {results['seed']}. {origin}"
    table = format_networks(figures["summary"], figures["evaluate"], figures["intervals"])
    return f"{table}\n\n{origin}"


def market_groups() -> str:
    """Return the quality of recommendations of the real marketplace, by group of products."""
    rows = [
        [
            f"{row['group']}: {row['value']}" if row["group"] != "category" else row["value"],
            str(row["leaf_agreement_products"]),
            *(_format_group(row, name) for name in ("category_agreement", "leaf_agreement")),
            str(row["good_at_6_products"] or ""),
            _format_group(row, "good_at_6"),
        ]
        for row in read(MARKET / "results.json")["figures"]["groups"]
    ]
    columns = ["test products", "products:", "same root:", "same leaf:", "judged:", "good@6:"]
    return format_table(columns, rows)


def sample_networks() -> str:
    """Return the metrics of the sample, for the fine-tuned network and for untouched ones."""
    intervals = read(ROOT / "metrics/evaluate/intervals.json") | read(ROOT / "metrics/recommend/intervals.json")
    return format_networks(read(ROOT / "metrics/summary.json"), read(ROOT / "metrics/evaluate.json"), intervals)


def format_networks(
    summary: dict[str, float], evaluation: dict[str, Any], intervals: dict[str, dict[str, float]]
) -> str:
    """Format metrics as a table, a column for each network; ours have their intervals."""
    ours = {**evaluation, **summary}
    others = [evaluation[network] for network in NETWORKS]
    rows = []
    for metric, name in NAMES.items():
        if metric in ours:
            own = format_interval(intervals[metric]) if metric in intervals else f"{ours[metric]:.3f}"
            rows.append([name, own, *_format(others, metric)])
    return format_table(["", "ours:", *(f"{name}:" for name in NETWORKS.values())], rows)


def ablation_rankings() -> str:
    """Return the judged quality of each choice of a ranking's parts."""
    rankings = read(MARKET / "ablation.json")["rankings"]
    rows = [[name, *_format(runs, "good_at_6"), *_format(runs, "ndcg_at_8")] for name, runs in rankings.items()]
    return format_table(["question: what counts", "good@6:", "nDCG@8:"], rows)


def ablation_photos() -> str:
    """Return the metrics of each choice of training and of vectors: the mean ± deviation over the seeds."""
    photos = read(MARKET / "ablation.json")["photos"]
    rows = [[name, *(format_runs(runs, column) for column in ABLATION_COLUMNS)] for name, runs in photos.items()]
    return format_table(["", *(f"{name}:" for name in ABLATION_COLUMNS.values())], rows)


def format_runs(runs: Iterable[dict[str, float]], metric: str) -> str:
    """Format the mean of a metric over several runs, ± the standard deviation; empty if no run has it."""
    values = [run[metric] for run in runs if metric in run]
    if not values:
        return ""
    spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{mean(values):.3f}{spread}"


def format_interval(figures: dict[str, float]) -> str:
    """Format a mean and its 95 % interval."""
    return f"{figures['mean']:.3f} ({figures['low']:.3f}–{figures['high']:.3f})"


def _format_group(row: dict[str, Any], metric: str) -> str:
    if row[metric] is None:
        return ""
    figures = {"mean": row[metric], "low": row[f"{metric}_low"], "high": row[f"{metric}_high"]}
    return f"{row[metric]:.3f}" if figures["low"] is None else format_interval(figures)


def _format(columns: Iterable[dict[str, Any]], metric: str) -> list[str]:
    return [f"{column[metric]:.3f}" if metric in column else "" for column in columns]


def _size(figures: dict[str, Any]) -> str:
    counts = figures["clean"]
    return f"{counts['products']['kept']:,} products and {counts['images']['kept']:,} photos"


OF_THE_SAMPLE: dict[str, Callable[[], str]] = {"sample-networks": sample_networks}
TABLES: dict[str, Callable[[], str]] = OF_THE_SAMPLE | {
    "market-summary": market_summary,
    "market-size": market_size,
    "market-judged": market_judged,
    "market-networks": market_networks,
    "market-groups": market_groups,
    "ablation-rankings": ablation_rankings,
    "ablation-photos": ablation_photos,
}


if __name__ == "__main__":
    main()
