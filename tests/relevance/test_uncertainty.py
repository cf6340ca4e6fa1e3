"""Intervals, compared with those of SciPy and with resampling by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap

from marketplace.relevance import uncertainty
from marketplace.relevance.shares_file import MAX_LISTED, write_shares
from marketplace.relevance.uncertainty import (
    Shares,
    bootstrap_interval,
    compare_pairs,
    compare_shares,
    mean,
    questions_needed,
    resample_totals,
)


def make_shares(n_products: int = 60, seed: int = 0, rate: float = 0.6) -> Shares:
    """Products with one to four photos, which are right or wrong together."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 5, n_products)
    return Shares(sums=np.where(rng.random(n_products) < rate, counts, 0).astype(float), counts=counts)


def test_an_interval_holds_its_mean_and_shrinks_with_more_questions() -> None:
    values = np.random.default_rng(1).random(400)
    few = bootstrap_interval(values[:25])
    many = bootstrap_interval(values)
    assert few[0] < mean(values[:25]) < few[1]
    assert many[1] - many[0] < (few[1] - few[0]) / 2
    expected = 2 * 1.96 * values.std() / len(values) ** 0.5
    assert many[1] - many[0] == pytest.approx(expected, rel=0.1)


def test_a_paired_interval_is_that_of_scipy_and_narrower_than_two_intervals() -> None:
    rng = np.random.default_rng(3)
    base = rng.random(70)
    head = base + 0.05 + rng.normal(0, 0.1, 70)
    with_gaps = compare_pairs(np.append(base, [np.nan, 0.5]), np.append(head, [0.9, np.nan]))
    difference = compare_pairs(base, head)
    assert with_gaps == difference
    assert difference.questions == 70
    assert difference.base == pytest.approx(base.mean())
    assert difference.head == pytest.approx(head.mean())
    assert difference.mean == pytest.approx(head.mean() - base.mean())
    expected = bootstrap((head - base,), np.mean, n_resamples=20_000, method="percentile", rng=rng).confidence_interval
    assert (difference.low, difference.high) == pytest.approx((expected.low, expected.high), abs=0.004)
    assert difference.high - difference.low < bootstrap_interval(base)[1] - bootstrap_interval(base)[0]


def test_as_many_questions_as_needed_show_a_difference_in_80_of_100_cases() -> None:
    rng = np.random.default_rng(5)
    differences = rng.normal(0.03, 0.1, 50)
    needed = questions_needed(differences)
    assert needed == questions_needed(-differences)
    spread = differences.std(ddof=1)
    draws = rng.normal(differences.mean(), spread, (4000, int(needed)))
    is_seen = np.abs(draws.mean(axis=1)) > 1.96 * spread / needed**0.5
    assert is_seen.mean() == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(
    ("differences", "needed"),
    [([], math.inf), ([0.5], math.inf), ([0.1, -0.1], math.inf), ([0.2, 0.2], 1), ([0.0, 0.2], 16)],
)
def test_some_differences_need_one_question_or_more_than_there_are(differences: list[float], needed: float) -> None:
    assert questions_needed(np.array(differences)) == needed


def test_without_a_question_nothing_is_known() -> None:
    assert all(math.isnan(value) for value in (*bootstrap_interval(np.array([])), mean(np.array([np.nan]))))


def test_values_belong_to_products_and_unknown_ones_are_left_out() -> None:
    values = np.array([1, 0, np.nan, 1, 1])
    shares = Shares.of(values, np.array([0, 0, 1, 3, 3]), 4)
    assert shares.sums.tolist() == [1, 0, 0, 2]
    assert shares.counts.tolist() == [2, 0, 0, 2]
    assert shares.mean() == pytest.approx(np.nanmean(values))
    assert shares.summarise()["products"] == 2


def test_photos_of_one_product_are_drawn_together() -> None:
    """An interval over photos would be too narrow: four photos of a product are no four observations."""
    shares = make_shares()
    rng = np.random.default_rng(1)
    draws = rng.integers(60, size=(20_000, 60))
    expected = np.quantile(shares.sums[draws].sum(axis=1) / shares.counts[draws].sum(axis=1), [0.025, 0.975])
    assert shares.interval() == pytest.approx(expected, abs=0.01)
    photos = np.repeat(shares.sums / shares.counts, shares.counts)
    low, high = bootstrap_interval(photos)
    assert shares.interval()[1] - shares.interval()[0] > 1.3 * (high - low)


def test_the_same_products_are_drawn_on_both_sides() -> None:
    base = make_shares()
    head = Shares(sums=np.minimum(base.sums + (np.arange(60) < 6), base.counts), counts=base.counts)
    low, high = compare_shares(base, head)
    assert low < head.mean() - base.mean() < high
    assert low >= 0
    assert high - low < base.interval()[1] - base.interval()[0]
    assert compare_shares(base, base) == (0, 0)
    assert compare_shares(head, base) == pytest.approx((-high, -low))


@pytest.mark.parametrize("n_products", [1, 3])
def test_few_products_give_a_wide_interval_and_no_error(n_products: int) -> None:
    shares = Shares(sums=np.arange(n_products) % 2.0, counts=np.ones(n_products, int))
    low, high = shares.interval()
    assert 0 <= low <= shares.mean() <= high <= 1
    assert n_products == 1 or (low, high) == (0, 1)


def test_without_values_there_is_no_interval() -> None:
    empty = Shares(sums=np.zeros(3), counts=np.zeros(3, int))
    assert empty.summarise() == {"products": 0}
    assert all(map(math.isnan, (empty.mean(), *empty.interval(), *compare_shares(empty, make_shares(3)))))


@given(st.integers(1, 40), st.integers(1, 200))
def test_many_products_are_drawn_in_blocks(n_products: int, block: int) -> None:
    """Each resample draws as many products as there are, whatever fits into memory at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uncertainty, "BLOCK", block * n_products)
        totals = resample_totals(np.stack([np.ones(n_products), np.arange(n_products)], axis=1))
    assert totals.shape == (uncertainty.RESAMPLES, 2)
    assert (totals[:, 0] == n_products).all()
    assert totals[:, 1].mean() / n_products == pytest.approx((n_products - 1) / 2, rel=0.1, abs=0.1)


def test_a_file_has_a_line_for_each_product_and_is_bounded(tmp_path: Path) -> None:
    ids = [f'odd "id" é {number:04}' for number in range(MAX_LISTED + 200)]
    shares = {"accuracy": make_shares(len(ids)), "recall": Shares(np.ones(len(ids)), np.arange(len(ids)) % 2)}
    write_shares(tmp_path / "by_product.json", ids, shares)
    text = (tmp_path / "by_product.json").read_text()
    content = json.loads(text)
    assert len(content) == MAX_LISTED == len(text.splitlines()) - 2
    assert list(content) == sorted(content)
    for name, values in content.items():
        number = ids.index(name)
        assert values["accuracy"] == [shares["accuracy"].sums[number], shares["accuracy"].counts[number]]
        assert ("recall" in values) == number % 2
    fewer = [product_id for product_id in ids if ids.index(product_id) % 3]
    chosen = [ids.index(product_id) for product_id in fewer]
    write_shares(tmp_path / "fewer.json", fewer, {name: of.select(np.array(chosen)) for name, of in shares.items()})
    remaining = set(json.loads((tmp_path / "fewer.json").read_text()))
    assert set(content) & set(fewer) <= remaining  # the same products are listed while others come and go


def test_without_products_the_file_is_an_empty_object(tmp_path: Path) -> None:
    write_shares(tmp_path / "by_product.json", [], {"accuracy": Shares(np.zeros(0), np.zeros(0, int))})
    assert json.loads((tmp_path / "by_product.json").read_text()) == {}
