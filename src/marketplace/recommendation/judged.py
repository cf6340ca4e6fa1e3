"""The judged questions of a catalogue, and the quality of rankings of their candidates.

There are three kinds of questions: a product, one photo of it alone, and words. The judgements of a product's
candidates serve both of the first two.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from marketplace.recommendation.catalogue import Catalogue
from marketplace.recommendation.keywords import KeywordIndex
from marketplace.recommendation.lookalikes import LOOKS, LookalikeSettings, add_lookalikes
from marketplace.recommendation.products import Products
from marketplace.recommendation.questions import EmbedWords, expect_path, photo_questions, words_questions
from marketplace.recommendation.rules import QuestionWeights, RankingRules, RecommendSettings
from marketplace.recommendation.similarity import PARTS, Parts, Weights, weigh
from marketplace.relevance.judgements import (
    JUDGEMENTS,
    PRODUCT_COLUMNS,
    SEARCH_COLUMNS,
    SEARCHES,
    Judgements,
    read_judgements,
    split_of_search,
)
from marketplace.relevance.metrics import Judge, Quality
from marketplace.relevance.uncertainty import bootstrap_interval, mean
from marketplace.vectors.tables import PhotoPredictions

Kind = Literal["product", "photo", "words"]
KINDS: tuple[Kind, ...] = get_args(Kind)
METRICS = ("good_at_6", "ndcg_at_8")
SPLITS = ("val", "test")


@dataclass(frozen=True)
class JudgedPairs:
    """Judged pairs of one kind of question, and the similarity of each part of both sides."""

    judgements: Judgements
    splits: np.ndarray  # (J,) str, the split of each pair's question
    candidates: np.ndarray  # (J,) int, numbers of products
    similarities: np.ndarray  # (J, 4) float32, the inner product of each of PARTS
    bonus: np.ndarray  # (J,) float32, for the words of the question that the candidate has

    def scores(self, weights: Weights) -> np.ndarray:
        """Return the score `(J,)` of each pair."""
        return self.score(weights.shares().astype(np.float32))

    def score(self, shares: np.ndarray) -> np.ndarray:
        """Return the score `(J,)` of each pair, by the shares `(4,)` of PARTS."""
        return self.similarities @ shares + self.bonus

    def select(self, chosen: np.ndarray) -> "JudgedPairs":
        """Return the pairs in a mask `(J,) bool`."""
        return JudgedPairs(
            judgements=self.judgements.select(chosen),
            splits=self.splits[chosen],
            candidates=self.candidates[chosen],
            similarities=self.similarities[chosen],
            bonus=self.bonus[chosen],
        )


def read_judged_pairs(
    root: Path,
    catalogue: Catalogue,
    predictions: PhotoPredictions,
    settings: RecommendSettings,
    open_texts: Callable[[], EmbedWords],
) -> dict[Kind, JudgedPairs]:
    """Read the judgements in `root` that are about a catalogue.

    `predictions` belong to its photos; a photo's own product is none of its look-alikes. `open_texts` is called if
    there are judged searches. Raises MarketplaceError if a file of judgements is not as it should be.
    """
    products = catalogue.products
    known = products.table["product_id"]
    judgements = read_judgements(root / JUDGEMENTS, PRODUCT_COLUMNS, known)
    searches = read_judgements(root / SEARCHES, SEARCH_COLUMNS, known)

    queries, place_of_query = np.unique(judgements.questions, return_inverse=True)
    numbers = np.array([products.number_of[product_id] for product_id in queries], dtype=np.int64)
    splits = products.table["split"].to_numpy(str)[numbers][place_of_query]
    of_products = catalogue.parts.select(numbers)
    of_photos = _ask_about_photos(catalogue, predictions, numbers, settings.lookalikes)

    words, place_of_words = np.unique(searches.questions, return_inverse=True)
    of_words = catalogue.parts.select(np.array([], dtype=np.int64))
    if len(words):
        expect = partial(expect_path, titles=catalogue.texts.title, paths=catalogue.texts.path)
        of_words = words_questions(words.tolist(), open_texts(), expect, catalogue.parts.kind.shape[1])
    word_splits = np.array([split_of_search(query) for query in words], dtype=str)[place_of_words]
    of_searches = _compare(searches, word_splits, of_words, place_of_words, catalogue)
    return {
        "product": _compare(judgements, splits, of_products, place_of_query, catalogue),
        "photo": _compare(judgements, splits, of_photos, place_of_query, catalogue),
        "words": replace(of_searches, bonus=_keyword_bonus(of_searches, products, settings.keyword_weight)),
    }


def _ask_about_photos(
    catalogue: Catalogue, predictions: PhotoPredictions, numbers: np.ndarray, lookalikes: LookalikeSettings
) -> Parts:
    """Return the parts of questions about the first photos of some products, as if they were not in the catalogue."""
    products = catalogue.products
    first_photos = products.photos[products.starts[numbers]]
    questions = photo_questions(
        kind=catalogue.vectors.kind[first_photos],
        title=predictions.title[first_photos],
        path=predictions.path[first_photos],
        text_dimensions=catalogue.parts.text.shape[1],
    )
    if not len(numbers):
        return questions
    looks = weigh(questions.join(), catalogue.parts.dimensions, LOOKS)
    complete = []
    for place, number in enumerate(numbers.tolist()):
        others = np.flatnonzero(products.groups != products.groups[number])
        question = questions.select(np.array([place]))
        similarities = catalogue.parts.compare(looks[place])[others]
        complete.append(add_lookalikes(question, catalogue.parts.select, others, similarities, lookalikes))
    return Parts(**{name: np.concatenate([getattr(parts, name) for parts in complete]) for name in PARTS})


def _compare(
    judgements: Judgements, splits: np.ndarray, questions: Parts, place: np.ndarray, catalogue: Catalogue
) -> JudgedPairs:
    """Compare each judged candidate with its question, which has the given `place` `(J,)` in `questions`."""
    number_of = catalogue.products.number_of
    candidates = np.array([number_of[product_id] for product_id in judgements.candidates], dtype=np.int64)
    similarities = np.empty((len(judgements), len(PARTS)), np.float32)
    for column, name in enumerate(PARTS):
        left = getattr(questions, name)[place]
        right = getattr(catalogue.parts, name)[candidates]
        similarities[:, column] = np.einsum("jd,jd->j", left, right)
    return JudgedPairs(
        judgements=judgements,
        splits=splits,
        candidates=candidates,
        similarities=similarities,
        bonus=np.zeros(len(judgements), np.float32),
    )


def _keyword_bonus(pairs: JudgedPairs, products: Products, weight: float) -> np.ndarray:
    """Return the bonus `(J,) float32` of each pair for the words of the search that its candidate has."""
    bonus = np.zeros(len(pairs.judgements), np.float32)
    if not len(bonus):
        return bonus
    keywords = KeywordIndex(products.table)
    everything = np.ones(len(products.table), dtype=bool)
    for words in np.unique(pairs.judgements.questions):
        hits = keywords.find(keywords.terms(words), everything, limit=len(products.table))
        of_product = np.zeros(len(products.table), np.float32)
        of_product[hits.numbers] = hits.bonus(weight)
        of_question = pairs.judgements.questions == words
        bonus[of_question] = of_product[pairs.candidates[of_question]]
    return bonus


def rule_scores(pairs: JudgedPairs, products: Products, rules: RankingRules, weights: Weights) -> np.ndarray:
    """Return scores `(J,)` that rank judged candidates by the rules of the table; -inf: never listed."""
    scores = pairs.scores(weights)
    ranked = np.full(len(scores), -np.inf)
    for product_id in np.unique(pairs.judgements.questions):
        of_question = np.flatnonzero(pairs.judgements.questions == product_id)
        number = products.number_of[product_id]
        order = rules.order(number, pairs.candidates[of_question], scores[of_question])
        ranked[of_question[order]] = -np.arange(len(order))
    return ranked


def judged_metrics(
    judged: dict[Kind, JudgedPairs], products: Products, rules: RankingRules, weights: QuestionWeights
) -> dict[str, Any]:
    """Return the content of metrics/judged.json.

    For each kind of question that has judgements and each split, it has the number of questions and, for each of
    METRICS, the mean with the ends of its 95 % interval; `questions` has the metrics of every question, by kind.
    """
    content: dict[str, Any] = {}
    questions: dict[str, dict[str, Any]] = {}
    for kind, pairs in judged.items():
        own_weights = getattr(weights, kind)
        scores = rule_scores(pairs, products, rules, own_weights) if kind == "product" else pairs.scores(own_weights)
        for split in SPLITS:
            in_split = pairs.splits == split
            if not in_split.any():
                continue
            judge = Judge(pairs.judgements.select(in_split))
            quality = judge.measure(scores[in_split])
            content.setdefault(kind, {})[split] = _summarise(quality)
            questions.setdefault(kind, {}).update(_by_question(split, judge.questions, quality))
    return content | {"questions": questions}


def good_test_answers(content: Mapping[str, Any]) -> dict[str, float]:
    """Return good@6 of the judged products of the test split by id, from the content of metrics/judged.json."""
    questions = content["questions"].get("product", {})
    return {product_id: row["good_at_6"] for product_id, row in questions.items() if row["split"] == "test"}


def _summarise(quality: Quality) -> dict[str, Any]:
    summary: dict[str, Any] = {"questions": len(quality.good_at_6)}
    for name in METRICS:
        values = getattr(quality, name)
        low, high = bootstrap_interval(values)
        figures = {"mean": mean(values), "low": low, "high": high}
        summary[name] = {key: round(value, 4) for key, value in figures.items() if np.isfinite(value)}
    return summary


def _by_question(split: str, questions: np.ndarray, quality: Quality) -> dict[str, Any]:
    return {
        str(question): {
            "split": split,
            "good_at_6": round(float(good), 4),
            "ndcg_at_8": round(float(ndcg), 4) if np.isfinite(ndcg) else None,
        }
        for question, good, ndcg in zip(questions, quality.good_at_6, quality.ndcg_at_8, strict=True)
    }
