"""Categories of products by their photos and words, compared with sums by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from marketplace.evaluation.product_categories import predict_product_categories

CATEGORIES = ["hats", "lamps", "shoes"]


def shop(seed: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return photos of 60 products, probabilities for the test photos, and text vectors; some have no words."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "product_id": f"p{number:02}",
            "category": CATEGORIES[number % 3],
            "split": "test" if number % 4 == 0 else "train",
        }
        for number in range(60)
        for _ in range(1 + number % 3)
    ]
    table = pd.DataFrame(rows).sample(frac=1, random_state=seed).reset_index(drop=True)
    n_test = int((table["split"] == "test").sum())
    texts = np.eye(3)[np.arange(60) % 3] + rng.normal(size=(60, 3))
    texts[rng.permutation(60)[:15]] = 0
    return table, rng.dirichlet(np.ones(3), n_test).astype(np.float32), texts.astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_probabilities_of_photos_and_words_are_multiplied(seed: int) -> None:
    table, probabilities, texts = shop(seed)
    result = predict_product_categories(table, probabilities, texts, CATEGORIES)

    ids = sorted(set(table["product_id"]))
    category_of = dict(zip(table["product_id"], table["category"], strict=True))
    split_of = dict(zip(table["product_id"], table["split"], strict=True))
    known = [i for i, name in enumerate(ids) if split_of[name] == "train" and texts[i].any()]
    words = LogisticRegression(C=10, max_iter=1000).fit(texts[known], [category_of[ids[i]] for i in known])
    test_ids = [name for name in ids if split_of[name] == "test"]
    photo_ids = table.loc[table["split"] == "test", "product_id"].tolist()
    for place, name in enumerate(test_ids):
        own = [probabilities[row] for row, photo_id in enumerate(photo_ids) if photo_id == name]
        by_photos = [math.prod(float(photo[c]) for photo in own) ** (1 / len(own)) for c in range(3)]
        text = texts[ids.index(name)]
        has_words = bool(text.any())
        by_words = words.predict_proba(text[None])[0] if has_words else np.ones(3)
        assert CATEGORIES[result.actual[place]] == category_of[name]
        assert result.has_words[place] == has_words
        assert result.by_photos[place] == np.argmax(by_photos)
        assert result.by_words[place] == np.argmax(by_words if has_words else by_photos)
        assert result.by_both[place] == np.argmax(by_photos * by_words)

    hits = result.by_words == result.actual
    metrics = {name: np.nanmean(values) for name, values in result.measure().items()}
    assert metrics == pytest.approx(
        {
            "product_accuracy": np.mean(result.by_both == result.actual),
            "product_accuracy_photos": np.mean(result.by_photos == result.actual),
            "product_accuracy_words": np.mean([hits[i] for i in range(len(hits)) if result.has_words[i]]),
        }
    )


def test_without_words_photos_decide_alone() -> None:
    table, probabilities, texts = shop(0)
    result = predict_product_categories(table, probabilities, np.zeros_like(texts), CATEGORIES)
    assert (result.by_both == result.by_photos).all()
    hits = result.measure()
    assert (hits["product_accuracy"] == hits["product_accuracy_photos"]).all()
    assert np.isnan(hits["product_accuracy_words"]).all()


def test_words_of_a_single_category_say_nothing() -> None:
    table, probabilities, texts = shop(0)
    ids = sorted(set(table["product_id"]))
    category_of = dict(zip(table["product_id"], table["category"], strict=True))
    texts[[category_of[name] != "hats" for name in ids]] = 0
    result = predict_product_categories(table, probabilities, texts, CATEGORIES)
    assert (result.by_both == result.by_photos).all()


def test_a_category_unknown_to_the_network_and_to_words_is_an_error_and_no_crash() -> None:
    table, probabilities, texts = shop(0)
    new = table["product_id"] == "p00"
    table.loc[new, "category"] = "tents"
    result = predict_product_categories(table, np.pad(probabilities, ((0, 0), (0, 1))), texts, [*CATEGORIES, "tents"])
    assert result.actual[0] == 3
    assert 3 not in result.by_both
    assert np.isfinite(result.measure()["product_accuracy"]).all()
