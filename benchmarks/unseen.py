"""Measure recommendations in categories that training has not seen, against those that it has.

    python benchmarks/unseen.py -S fetch.source=local -S fetch.local.path=../shared/market --judgements FILE

The root categories are dealt into FOLDS. For each fold, the networks and everything fitted to them see no training or
validation product of its categories. Their test products are then recommended for and searched as always, in the whole
catalogue. So every test product is measured twice: its category seen, and unseen. Differences have 95 % intervals by
the paired bootstrap over products.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
from workspace import Workspace, make_parser, report, table, workspace

from marketplace.relevance.judgements import JUDGEMENTS
from marketplace.relevance.shares_file import Rows, shares_of
from marketplace.relevance.uncertainty import compare_shares

FOLDS = 4
TRAINING_DATA = "data/clean/training_data.parquet"
ENCODER = "data/clean/categories.json"
LEARNING = ("train_small", "train_full", "fit", "extract")
MEASURING = ("evaluate", "recommend")
NAMES = {
    "good_at_6": "product: good@6",
    "ndcg_at_8": "product: nDCG@8",
    "photo_good_at_6": "one photo: good@6",
    "photo_ndcg_at_8": "one photo: nDCG@8",
    "same_product_recall_at_1": "same-product recall@1",
    "category_agreement": "agreement of root categories",
    "leaf_agreement": "agreement of leaf categories",
    "category_precision_at_10": "root precision@10, photos alone",
    "leaf_precision_at_10": "leaf precision@10, photos alone",
}


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__)
    parser.add_argument("--judgements", type=Path, metavar="FILE", help="judged pairs of products")
    options = parser.parse_args()
    with workspace(options.set) as space:
        if options.judgements is not None:
            shutil.copyfile(options.judgements, space.path(JUDGEMENTS))
        space.dvc("repro", "--quiet", "recommend")
        data = pd.read_parquet(space.path(TRAINING_DATA))
        seen = read_rows(space)
        folds = deal_categories(data)
        unseen: Rows = {}
        for fold in folds:
            in_fold = set(data["product_id"][data["category"].isin(fold)])
            hide(space, data, fold)
            unseen |= {product_id: row for product_id, row in read_rows(space).items() if product_id in in_fold}
    metrics = compare(seen, unseen)
    report({"folds": folds, "metrics": metrics}, format_metrics(metrics), options.json)


def deal_categories(data: pd.DataFrame) -> list[list[str]]:
    """Deal the root categories into FOLDS, the largest first."""
    names = data.drop_duplicates("product_id")["category"].value_counts().index.tolist()
    return [names[first::FOLDS] for first in range(FOLDS)]


def hide(space: Workspace, data: pd.DataFrame, categories: list[str]) -> None:
    """Train without some categories, as if there were none of them, then measure with the whole catalogue."""
    encoder = space.path(ENCODER).read_bytes()
    names = sorted(set(data["category"]) - set(categories))
    labels = {name: label for label, name in enumerate(names)}
    is_hidden = data["category"].isin(categories)
    without = data.assign(
        split=data["split"].mask(is_hidden, "test"),
        label=data["category"].map(labels).fillna(0).astype(data["label"].dtype),  # nothing reads the hidden ones
    )
    without.to_parquet(space.path(TRAINING_DATA), index=False)
    space.path(ENCODER).write_text(json.dumps({"encode": labels, "decode": names}))
    space.run(*LEARNING)
    data.to_parquet(space.path(TRAINING_DATA), index=False)
    space.path(ENCODER).write_bytes(encoder)
    space.run(*MEASURING)


def read_rows(space: Workspace) -> Rows:
    """Read the metrics of each test product, judged ones included."""
    rows: Rows = {}
    for stage in MEASURING:
        for product_id, values in json.loads(space.path(f"metrics/{stage}/by_product.json").read_text()).items():
            rows.setdefault(product_id, {}).update(values)
    judged = json.loads(space.path("metrics/judged.json").read_text())["questions"]
    for kind, prefix in (("product", ""), ("photo", "photo_")):
        for product_id, question in judged.get(kind, {}).items():
            for metric in ("good_at_6", "ndcg_at_8"):
                if question["split"] == "test" and question[metric] is not None:
                    rows.setdefault(product_id, {})[f"{prefix}{metric}"] = (question[metric], 1)
    return rows


def compare(seen: Rows, unseen: Rows) -> dict[str, Any]:
    """Return each metric over the products that both sides have, with the interval of the change."""
    metrics = {}
    for name in NAMES:
        ids = [product_id for product_id in unseen if name in unseen[product_id] and name in seen.get(product_id, {})]
        if not ids:
            continue
        before = shares_of([seen[product_id][name] for product_id in ids])
        after = shares_of([unseen[product_id][name] for product_id in ids])
        low, high = compare_shares(before, after)
        metrics[name] = {
            "products": len(ids),
            "seen": before.mean(),
            "unseen": after.mean(),
            "change": after.mean() - before.mean(),
            "low": low,
            "high": high,
        }
    return metrics


def format_metrics(metrics: dict[str, Any]) -> str:
    """Format the metrics as a table."""
    rows = [
        [
            NAMES[name],
            str(row["products"]),
            f"{row['seen']:.3f}",
            f"{row['unseen']:.3f}",
            f"{row['change']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})",
        ]
        for name, row in metrics.items()
    ]
    return table(["", "test products", "category seen", "unseen", "change"], rows)


if __name__ == "__main__":
    main()
