"""The quality of the recommendations, for whoever decides about them: judged figures, categories and examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from marketplace.common.damage import read_parquet
from marketplace.compute.arrays import ShardedArray
from marketplace.recommendation.fingerprints import RECOMMENDATIONS, TRAINING_DATA
from marketplace.recommendation.gallery import Case, CaseMaker, draw_typical, find_least_sure
from marketplace.recommendation.judged import KINDS, METRICS, Kind
from marketplace.recommendation.metrics import has_three_close
from marketplace.recommendation.products import Products, products_of
from marketplace.relevance.judgements import JUDGEMENTS, PRODUCT_COLUMNS, read_judgements
from marketplace.relevance.uncertainty import MIN_SAMPLE, bootstrap_interval, mean
from marketplace.review.files import PER_CATEGORY
from marketplace.review.judged import JudgedQuestion, questions_of_test
from marketplace.review.revisions import Revision

IMAGES = "data/resized/full"
N_EXAMPLES = 3  # good ones, and as many bad ones


@dataclass(frozen=True)
class Figure:
    """The mean of a metric over judged questions, with its 95 % interval if there are enough of them."""

    questions: int
    mean: float  # NaN without questions
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: Sequence[float | None]) -> "Figure":
        """Return the figure of a metric of several questions; None is a question that it cannot be measured for."""
        array = np.array(values, dtype=float)
        n_questions = int(np.isfinite(array).sum())
        low, high = bootstrap_interval(array) if n_questions >= MIN_SAMPLE else (None, None)
        return cls(questions=n_questions, mean=mean(array), low=low, high=high)


@dataclass(frozen=True)
class JudgedKind:
    """What people judged of the answers to one kind of question."""

    kind: Kind
    figures: dict[str, Figure]  # by metric


@dataclass(frozen=True)
class CategoryQuality:
    """The quality in a root category; None: not measured."""

    category: str
    products: int
    three_close: float | None  # share of products with three close recommendations
    judged: Figure  # good@6
    accuracy: float | None  # of the category of a test photo


@dataclass(frozen=True)
class Examples:
    """Products with good recommendations and with bad ones, and how they were chosen."""

    choice: str
    good: list[Case]
    bad: list[Case]


@dataclass(frozen=True)
class Table:
    """The table of recommendations, and its products."""

    products: Products
    recommended: pd.DataFrame

    @classmethod
    def read(cls, root: Path) -> "Table | None":
        """Read the table of the pipeline that has run in `root`; None if it is not there."""
        paths = (root / TRAINING_DATA, root / RECOMMENDATIONS)
        if not all(path.is_file() for path in paths):
            return None
        training_data, recommended = map(read_parquet, paths)
        return cls(products=products_of(training_data), recommended=recommended)


def summarise_judged(questions: dict[Kind, dict[str, JudgedQuestion]]) -> list[JudgedKind]:
    """Return the figures of the judged questions of the test split."""
    kinds = []
    for kind in KINDS:
        in_test = questions_of_test(questions, kind)
        if in_test:
            figures = {name: Figure.of([getattr(row, name) for row in in_test]) for name in METRICS}
            kinds.append(JudgedKind(kind=kind, figures=figures))
    return kinds


def summarise_categories(
    revision: Revision, table: Table, questions: dict[str, JudgedQuestion]
) -> list[CategoryQuality]:
    """Return the quality by root category, the largest first; `questions` are about products."""
    facts = table.products.table.set_index("product_id")
    has_close = None
    if table.recommended["close"].notna().any():
        has_close = has_three_close(table.products.table["product_id"], table.recommended)
    accuracy = {row["category"]: row["recall"] for row in revision.json(PER_CATEGORY) or []}
    judged: dict[str, list[float | None]] = {}
    for product_id, question in questions.items():
        if question.split == "test" and product_id in facts.index:
            judged.setdefault(facts.loc[product_id, "category"], []).append(question.good_at_6)
    return [
        CategoryQuality(
            category=str(category),
            products=int(n_products),
            three_close=None if has_close is None else float(has_close[facts["category"] == category].mean()),
            judged=Figure.of(judged.get(str(category), [])),
            accuracy=accuracy.get(category),
        )
        for category, n_products in facts["category"].value_counts().items()
    ]


def choose_examples(root: Path, table: Table, questions: dict[str, JudgedQuestion]) -> Examples | None:
    """Choose products of the test split: by judgements, or without any by probability; None without photos."""
    if not (root / IMAGES).is_dir():
        return None
    products = table.products.table
    in_test = set(products["product_id"][products["split"] == "test"]) & set(table.recommended["product_id"])
    judged = {own: row for own, row in questions.items() if own in in_test and row.split == "test"}
    if judged:
        choice = "The products of the test split whose recommendations people judged best, and worst."
        ordered = sorted(judged, key=lambda own: (judged[own].good_at_6, judged[own].ndcg_at_8 or 0, own))
        good = ordered[::-1][:N_EXAMPLES]
        bad = ordered[:N_EXAMPLES]
    else:
        choice = (
            "Products of the test split: at random among those whose recommendations are all close, and those whose "
            "first one is the least likely to be called good."
        )
        rows = table.recommended[table.recommended["product_id"].isin(in_test)]
        all_close = rows.groupby("product_id")["close"].all()
        good = draw_typical(all_close.index[all_close.astype(bool)].tolist(), N_EXAMPLES)
        bad = find_least_sure(rows, N_EXAMPLES)
    judgements = read_judgements(root / JUDGEMENTS, PRODUCT_COLUMNS, products["product_id"])
    maker = CaseMaker(table.products, table.recommended, judgements, ShardedArray(root / IMAGES))
    return Examples(choice=choice, good=list(map(maker.make, good)), bad=list(map(maker.make, bad)))
