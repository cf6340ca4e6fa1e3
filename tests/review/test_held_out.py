"""A review compares two revisions over the same test products."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.repositories import commit_all, small_pipeline
from scipy.stats import bootstrap

from marketplace.review.comparison import review_change
from marketplace.review.held_out import HeldOutDifference, compare_held_out
from marketplace.review.markdown import format_review
from marketplace.review.revisions import Revision

EVALUATE = "metrics/evaluate/by_product.json"
RECOMMEND = "metrics/recommend/by_product.json"
RNG = np.random.default_rng(0)
BEFORE = {f"p{number:03}": {"accuracy": [float(hit), 1]} for number, hit in enumerate(RNG.random(150) < 0.6)}
AFTER = {
    name: {"accuracy": [1 - hit if RNG.random() < 0.2 else hit, 1]}
    for name, values in BEFORE.items()
    for hit in [values["accuracy"][0]]
}


def write(root: Path, path: str, content: object) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(content if isinstance(content, str) else json.dumps(content))


def compare(tmp_path: Path, before: object, after: object, path: str = EVALUATE) -> list[HeldOutDifference]:
    root = small_pipeline(tmp_path)
    write(root, path, before)
    base = commit_all(root)
    write(root, path, after)
    head = commit_all(root)
    return compare_held_out(Revision.of(root, base), Revision.of(root, head), None)


def test_the_interval_is_that_of_scipy(tmp_path: Path) -> None:
    (difference,) = compare(tmp_path, BEFORE, AFTER)
    changes = np.array([AFTER[name]["accuracy"][0] - BEFORE[name]["accuracy"][0] for name in BEFORE])
    expected = bootstrap((changes,), np.mean, n_resamples=20_000, method="percentile", rng=RNG).confidence_interval
    assert difference.mean == pytest.approx(changes.mean())
    assert (difference.low, difference.high) == pytest.approx((expected.low, expected.high), abs=0.01)
    assert difference.changed == (changes != 0).sum()
    assert difference.products == 150


def test_a_change_of_every_product_is_shown_and_one_of_a_few_may_be_chance(tmp_path: Path) -> None:
    better = {name: {"accuracy": [1.0, 1], "recall": [1.0, 1]} for name in BEFORE}
    few = {name: {"accuracy": [0.0, 1], "recall": [float(name != "p007"), 1]} for name in BEFORE}
    differences = {row.metric: row for row in compare(tmp_path, few, better)}
    assert differences["accuracy"].is_shown
    assert not differences["recall"].is_shown


def test_metrics_without_a_change_are_left_out(tmp_path: Path) -> None:
    assert compare(tmp_path, BEFORE, BEFORE) == []


def test_only_products_of_both_revisions_count(tmp_path: Path) -> None:
    before = {"a": {"accuracy": [1.0, 2]}, "gone": {"accuracy": [0.0, 1]}, "b": {"accuracy": [0, 0]}}
    after = {"a": {"accuracy": [2.0, 2]}, "new": {"accuracy": [0.0, 1]}, "b": {"accuracy": [1, 1]}}
    (difference,) = compare(tmp_path, before, after, RECOMMEND)
    assert (difference.products, difference.changed, difference.mean) == (1, 1, 0.5)


@pytest.mark.parametrize("content", ["{}", "[]", "3", '{"a": {"accuracy": 1}}', '{"a": [1, 1]}', '{"a": {}}'])
def test_a_file_of_another_form_is_not_compared(tmp_path: Path, content: str) -> None:
    assert compare(tmp_path, content, AFTER) == []


def test_three_products_are_compared_without_an_error(tmp_path: Path) -> None:
    three = {name: {"accuracy": [float(place), 1]} for place, name in enumerate("abc")}
    other = {name: {"accuracy": [1.0, 1]} for name in "abc"}
    (difference,) = compare(tmp_path, three, other)
    assert difference.low <= difference.mean <= difference.high


def test_a_review_has_a_row_for_each_metric_that_changed(tmp_path: Path) -> None:
    root = small_pipeline(tmp_path)
    write(root, "policy.yaml", "accuracy: {better: higher, tolerance: 0.01, blocks: true}")
    write(root, "metrics/clean.json", {"test_photos_sha256": "a"})
    write(root, EVALUATE, BEFORE)
    base = commit_all(root)
    write(root, EVALUATE, AFTER)
    page = format_review(review_change(root, base, commit_all(root)))
    assert "### Test products" in page
    assert page.count("of 150 |") == 1
    write(root, "metrics/clean.json", {"test_photos_sha256": "b"})  # other photos: nothing can be compared
    assert "### Test products" not in format_review(review_change(root, base, commit_all(root)))
