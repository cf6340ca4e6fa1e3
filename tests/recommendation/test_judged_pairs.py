"""Judged questions: the similarities of their candidates, and the quality of rankings."""

import numpy as np
import pandas as pd
import pytest
from helpers.shop import ALL, shop

from marketplace.recommendation.catalogue import Catalogue
from marketplace.recommendation.judged import JudgedPairs, Kind, judged_metrics, read_judged_pairs
from marketplace.recommendation.keywords import KeywordIndex
from marketplace.recommendation.lookalikes import LookalikeSettings
from marketplace.recommendation.measurement import calibrate, measure_agreement
from marketplace.recommendation.metrics import share_agreements
from marketplace.recommendation.products import products_of
from marketplace.recommendation.questions import EmbedWords
from marketplace.recommendation.rankers import create_ranker
from marketplace.recommendation.rules import QuestionWeights, RankingRules
from marketplace.recommendation.similarity import PARTS, Weights, weigh_symmetrically
from marketplace.recommendation.table import recommendations
from marketplace.relevance.judgements import split_of_search
from marketplace.vectors.tables import PhotoPredictions, PhotoVectors, TextVectors
from marketplace.vectors.unit_length import to_unit_length

N_PRODUCTS = 40
WEIGHTS = Weights(kind=0.4, text=0.3, title=0.2, path=0.1)
SETTINGS = ALL.model_copy(update={"lookalikes": LookalikeSettings(share=0.3, count=4, temperature=0.1)})
QUERIES = ["thing 7", "boots", "a hat", "lamp"]


def directions(seed: int, n: int, size: int) -> np.ndarray:
    return to_unit_length(np.random.default_rng(seed).normal(size=(n, size))).astype(np.float32)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    table, _ = shop(n_products=N_PRODUCTS)
    n = len(table)
    identity = directions(0, n, 3)
    vectors = PhotoVectors(identity=identity, kind=directions(1, n, 5), hub_bias=np.zeros(n, np.float32))
    texts = TextVectors(
        text=directions(2, N_PRODUCTS, 6), title=directions(3, N_PRODUCTS, 4), path=directions(4, N_PRODUCTS, 2)
    )
    return Catalogue(photos=table, products=products_of(table), vectors=vectors, texts=texts)


@pytest.fixture(scope="module")
def predictions(catalogue: Catalogue) -> PhotoPredictions:
    n = len(catalogue.photos)
    return PhotoPredictions(
        title=directions(5, n, 4), path=directions(6, n, 2), category=np.ones((n, 1), np.float32), categories=["all"]
    )


@pytest.fixture(scope="module")
def embedder() -> EmbedWords:
    vectors = {query: directions(seed, 1, 10)[0] for seed, query in enumerate(QUERIES)}

    def embed(words: list[str]) -> tuple[np.ndarray, np.ndarray]:
        both = np.stack([vectors[query] for query in words])
        return both[:, :6], both[:, 6:]

    return embed


@pytest.fixture(scope="module")
def judged(
    catalogue: Catalogue, predictions: PhotoPredictions, embedder: EmbedWords, tmp_path_factory: pytest.TempPathFactory
) -> dict[Kind, JudgedPairs]:
    root = tmp_path_factory.mktemp("judged")
    (root / "data").mkdir()
    ids = catalogue.products.table["product_id"].tolist()
    rng = np.random.default_rng(7)
    pairs = [
        (question, other, rng.integers(3)) for question in ids[:30] for other in rng.choice(ids, 12, replace=False)
    ]
    columns = ["product_id", "similar_product_id", "grade"]
    pd.DataFrame([pair for pair in pairs if pair[0] != pair[1]], columns=columns).to_csv(
        root / "data/judgements.csv", index=False
    )
    searches = [(query, other, rng.integers(3)) for query in QUERIES for other in ids[:20]]
    pd.DataFrame(searches, columns=["query", "product_id", "grade"]).to_csv(root / "data/searches.csv", index=False)
    return read_judged_pairs(root, catalogue, predictions, SETTINGS, lambda: embedder)


def direction(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def weighted_sum(question: dict[str, np.ndarray], catalogue: Catalogue, candidate: int) -> float:
    shares = WEIGHTS.model_dump()
    return sum(shares[name] * float(question[name] @ getattr(catalogue.parts, name)[candidate]) for name in PARTS)


def test_a_products_candidates_are_compared_with_its_vectors(
    catalogue: Catalogue, judged: dict[Kind, JudgedPairs]
) -> None:
    pairs = judged["product"]
    products = catalogue.products
    for place in range(0, len(pairs.judgements), 17):
        number = products.number_of[pairs.judgements.questions[place]]
        question = {name: getattr(catalogue.parts, name)[number] for name in PARTS}
        candidate = products.number_of[pairs.judgements.candidates[place]]
        score = weighted_sum(question, catalogue, candidate)
        assert pairs.scores(WEIGHTS)[place] == pytest.approx(score, abs=1e-5)
        assert pairs.splits[place] == products.table["split"][number]


def test_a_photos_candidates_are_compared_with_what_it_lets_one_expect(
    catalogue: Catalogue, predictions: PhotoPredictions, judged: dict[Kind, JudgedPairs]
) -> None:
    pairs = judged["photo"]
    products = catalogue.products
    for place in range(0, len(pairs.judgements), 17):
        number = products.number_of[pairs.judgements.questions[place]]
        row = products.photos_of(number)[0]
        kind = catalogue.vectors.kind[row]
        title = predictions.title[row]
        looks = (catalogue.parts.kind @ kind + catalogue.parts.title @ title) / 2
        looks[products.groups == products.groups[number]] = -np.inf  # as if the product was not there
        nearest = np.argsort(-looks)[:4]
        shares = np.exp(looks[nearest] / 0.1) / np.exp(looks[nearest] / 0.1).sum()
        texts = catalogue.texts
        question = {
            "kind": kind,
            "text": direction(0.7 * np.append(title, [0, 0]) + 0.3 * direction(shares @ texts.text[nearest])),
            "title": direction(0.7 * title + 0.3 * direction(shares @ texts.title[nearest])),
            "path": 0.7 * predictions.path[row] + 0.3 * shares @ texts.path[nearest],
        }
        candidate = products.number_of[pairs.judgements.candidates[place]]
        assert pairs.scores(WEIGHTS)[place] == pytest.approx(weighted_sum(question, catalogue, candidate), abs=1e-5)


def test_the_candidates_of_words_are_compared_with_their_vectors_and_likely_paths(
    catalogue: Catalogue, embedder: EmbedWords, judged: dict[Kind, JudgedPairs]
) -> None:
    pairs = judged["words"]
    for place in range(0, len(pairs.judgements), 7):
        query = pairs.judgements.questions[place]
        (text,), (meaning,) = embedder([query])
        likelihoods = [np.exp(float(meaning @ title) / 0.05) for title in catalogue.texts.title]
        path = sum(share * own for share, own in zip(likelihoods, catalogue.texts.path, strict=True)) / sum(likelihoods)
        question = {"kind": np.zeros(5), "text": text, "title": meaning, "path": path}
        candidate = catalogue.products.number_of[pairs.judgements.candidates[place]]
        score = pairs.scores(WEIGHTS)[place] - pairs.bonus[place]
        assert score == pytest.approx(weighted_sum(question, catalogue, candidate), abs=1e-5)
        assert pairs.splits[place] == split_of_search(query)


def test_the_candidates_of_words_get_a_bonus_for_having_them(
    catalogue: Catalogue, judged: dict[Kind, JudgedPairs]
) -> None:
    pairs = judged["words"]
    keywords = KeywordIndex(catalogue.products.table)
    everything = np.ones(N_PRODUCTS, dtype=bool)
    for query in QUERIES:
        hits = keywords.find(keywords.terms(query), everything)
        expected = dict(zip(hits.numbers.tolist(), hits.bonus(SETTINGS.keyword_weight).tolist(), strict=True))
        of_query = np.flatnonzero(pairs.judgements.questions == query)
        own = [expected.get(number, 0.0) for number in pairs.candidates[of_query].tolist()]
        assert pairs.bonus[of_query].tolist() == pytest.approx(own)
    assert (pairs.bonus[pairs.judgements.questions == "boots"] == 0).all()
    assert (pairs.bonus[pairs.judgements.questions == "a hat"] > 0).any()
    assert not judged["product"].bonus.any()


@pytest.mark.parametrize("changes", [{}, {"same_category": True}, {"diversity": 0.5}])
def test_judged_metrics_rank_by_the_rules_of_the_table(
    catalogue: Catalogue, judged: dict[Kind, JudgedPairs], changes: dict[str, object]
) -> None:
    products = catalogue.products
    settings = ALL.model_copy(update={**changes, "k": N_PRODUCTS})
    vectors = weigh_symmetrically(catalogue.parts.join(), catalogue.parts.dimensions, WEIGHTS)
    weights = QuestionWeights(product=WEIGHTS, photo=WEIGHTS, words=WEIGHTS)
    metrics = judged_metrics(judged, products, RankingRules(products, vectors, settings), weights)
    assert set(metrics["questions"]) == {"product", "photo", "words"}
    pairs = judged["product"]
    category = products.table.set_index("product_id")["category"]
    for question, row in metrics["questions"]["product"].items():
        of_question = np.flatnonzero(pairs.judgements.questions == question)
        grades = pairs.judgements.grades[of_question]
        candidates = pairs.judgements.candidates[of_question]
        if "same_category" in changes:
            allowed = [category[other] == category[question] for other in candidates]
            assert row["good_at_6"] <= np.sum(grades[allowed] == 2) / 6 + 1e-4
        elif not changes:
            best = np.argsort(-pairs.scores(WEIGHTS)[of_question], kind="stable")[:6]
            assert row["good_at_6"] == pytest.approx(np.sum(grades[best] == 2) / 6, abs=1e-4)
    for split in ("val", "test"):
        rows = [row for row in metrics["questions"]["product"].values() if row["split"] == split]
        figures = metrics["product"][split]["good_at_6"]
        assert figures["mean"] == pytest.approx(np.mean([row["good_at_6"] for row in rows]), abs=1e-3)
        assert figures["low"] < figures["mean"] < figures["high"]


def test_without_judgements_scores_are_calibrated_by_leaf_categories(
    catalogue: Catalogue, judged: dict[Kind, JudgedPairs]
) -> None:
    products = catalogue.products
    vectors = weigh_symmetrically(catalogue.parts.join(), catalogue.parts.dimensions, WEIGHTS)
    ranker = create_ranker(products, vectors, ALL)
    empty = {kind: pairs.select(np.zeros(len(pairs.judgements), dtype=bool)) for kind, pairs in judged.items()}
    calibrations = calibrate(products, ranker, empty, ALL)
    assert list(calibrations) == ["product"]
    by_leaves = calibrations["product"]
    assert by_leaves.probabilities == sorted(by_leaves.probabilities)
    assert by_leaves.scores == sorted(by_leaves.scores)


def test_agreement_is_measured_without_the_path(catalogue: Catalogue) -> None:
    products = catalogue.products
    without_path = Weights(kind=0.4, text=0.3, title=0.2, path=0)
    vectors = weigh_symmetrically(catalogue.parts.join(), catalogue.parts.dimensions, without_path)
    numbers = np.flatnonzero(products.table["split"] == "test")
    batches = recommendations(products, create_ranker(products, vectors, ALL), numbers)
    expected = share_agreements(products, pd.concat([batch.to_pandas() for batch in batches]))
    settings = ALL.model_copy(update={"weights": ALL.weights.model_copy(update={"product": WEIGHTS})})
    measured = measure_agreement(catalogue, settings)
    assert list(measured) == list(expected)
    for name, shares in measured.items():
        np.testing.assert_array_equal(shares.sums, expected[name].sums)
        np.testing.assert_array_equal(shares.counts, expected[name].counts)
        assert not shares.counts[products.table["split"] != "test"].any()
    path_alone = Weights(kind=0, text=0, title=0, path=1)
    alone = ALL.model_copy(update={"weights": ALL.weights.model_copy(update={"product": path_alone})})
    assert measure_agreement(catalogue, alone) == {}
