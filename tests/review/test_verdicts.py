"""Verdicts, noise, and the differences between two revisions, on values made by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.common.errors import MarketplaceError
from marketplace.review.changes import (
    Change,
    Recommended,
    compare_recommendations,
    find_changes,
    find_stage_changes,
    select_extremes,
)
from marketplace.review.noise import noise_band, summarise_noise
from marketplace.review.verdicts import Outcome, Rule, Verdict, judge_metrics, parse_policy

HIGHER = Rule(better="higher", tolerance=0.01, blocks=True)
LOWER = Rule(better="lower", tolerance=0.01, blocks=False)


def judge(base: object, head: object, rule: Rule = HIGHER, noise: dict[str, object] | None = None) -> Verdict:
    """Return the verdict on one metric, which is missing where its value is None."""
    before = {} if base is None else {"m": base}
    after = {} if head is None else {"m": head}
    (verdict,) = judge_metrics(before, after, {"m": rule}, noise)
    return verdict


@pytest.mark.parametrize(
    ("base", "head", "rule", "outcome", "blocks"),
    [
        (0.5, 0.52, HIGHER, Outcome.BETTER, False),
        (0.5, 0.48, HIGHER, Outcome.WORSE, True),
        (0.5, 0.48, LOWER, Outcome.BETTER, False),
        (0.5, 0.52, LOWER, Outcome.WORSE, False),
        (0.5, 0.505, HIGHER, Outcome.NOISE, False),
        (0.5, 0.495, HIGHER, Outcome.NOISE, False),
        (0.5, 0.5, HIGHER, Outcome.SAME, False),
        (None, 0.5, HIGHER, Outcome.NEW, False),
        (0.5, None, HIGHER, Outcome.MISSING, True),
        (0.5, math.nan, LOWER, Outcome.NOT_A_NUMBER, True),
        (0.5, math.inf, LOWER, Outcome.NOT_A_NUMBER, True),
        (0.5, "much", LOWER, Outcome.NOT_A_NUMBER, True),
        (0.5, True, LOWER, Outcome.NOT_A_NUMBER, True),
        (math.nan, 0.5, HIGHER, Outcome.NEW, False),
        (math.nan, math.nan, HIGHER, Outcome.NOT_A_NUMBER, False),
        (math.inf, None, HIGHER, Outcome.MISSING, False),
        (None, "much", HIGHER, Outcome.NOT_A_NUMBER, False),
    ],
)
def test_a_verdict(base: object, head: object, rule: Rule, outcome: Outcome, blocks: bool) -> None:
    verdict = judge(base, head, rule)
    assert (verdict.outcome, verdict.blocks) == (outcome, blocks)


def test_the_wider_of_noise_and_tolerance_counts() -> None:
    noise = summarise_noise([{"m": 0.4}, {"m": 0.5}, {"m": 0.6}], [1, 2, 3], "abc")
    assert judge(0.9, 0.5, noise=noise).outcome is Outcome.NOISE  # 4.303 * 0.1 * sqrt(2) = 0.61
    assert judge(0.9, 0.5).outcome is Outcome.WORSE
    no_spread = summarise_noise([{"m": 0.5}, {"m": 0.5}], [1, 2], "abc")
    assert judge(0.5, 0.495, noise=no_spread).outcome is Outcome.NOISE
    assert judge(0.5, 0.48, noise=no_spread).outcome is Outcome.WORSE
    other_metric = summarise_noise([{"n": 0.1}, {"n": 0.9}], [1, 2], "abc")
    assert judge(0.5, 0.48, noise=other_metric).outcome is Outcome.WORSE


def test_metrics_without_a_rule_are_listed_and_block_nothing() -> None:
    verdicts = judge_metrics({"m": 1.0, "n": 1.0}, {"m": 1.0, "n": 0.0}, {"m": HIGHER}, None)
    assert [(verdict.metric, verdict.outcome, verdict.blocks) for verdict in verdicts] == [
        ("m", Outcome.SAME, False),
        ("n", Outcome.WORSE, False),
    ]


def test_a_metric_of_the_policy_that_neither_revision_has_is_left_out() -> None:
    assert judge_metrics({}, {}, {"m": HIGHER}, None) == []


@given(base=st.floats(0, 1), head=st.floats(0, 1), tolerance=st.floats(0, 0.2))
def test_a_change_for_the_better_is_one_for_the_worse_in_reverse(base: float, head: float, tolerance: float) -> None:
    rule = Rule(better="higher", tolerance=tolerance, blocks=True)
    forward = judge(base, head, rule).outcome
    backward = judge(head, base, rule).outcome
    mirror = {Outcome.BETTER: Outcome.WORSE, Outcome.WORSE: Outcome.BETTER}
    assert backward == mirror.get(forward, forward)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"m": {"better": "up", "tolerance": 0, "blocks": True}}, "m.better"),
        ({"m": {"better": "higher", "tolerance": -1, "blocks": True}}, "m.tolerance"),
        ({"m": {"better": "higher", "tolerance": 0, "blocks": True, "block": 1}}, "m.block"),
        (["m"], "policy.yaml"),
    ],
)
def test_a_wrong_policy_is_refused_by_name(values: object, message: str) -> None:
    with pytest.raises(MarketplaceError, match=message):
        parse_policy(values)


def test_noise_is_the_mean_and_the_sample_deviation() -> None:
    noise = summarise_noise([{"m": 1.0}, {"m": 2.0}, {"m": 4.0}], [1, 2, 3], "abc")
    assert noise["metrics"]["m"] == {"mean": 2.33333, "spread": 1.52753, "values": [1.0, 2.0, 4.0]}
    assert noise["seeds"] == [1, 2, 3]
    assert noise["training_data"] == "abc"
    assert noise_band(noise, "n") is None


@pytest.mark.parametrize("n_seeds", [3, 5, 10])
def test_two_runs_differ_by_no_more_than_the_band_in_95_of_100_cases(n_seeds: int) -> None:
    rng = np.random.default_rng(n_seeds)
    within_band = []
    for _ in range(4000):
        values = rng.normal(0.9, 0.02, n_seeds)
        noise = {"metrics": {"m": {"spread": float(np.std(values, ddof=1)), "values": values.tolist()}}}
        first, second = rng.normal(0.9, 0.02, 2)
        band = noise_band(noise, "m")
        assert band is not None
        within_band.append(abs(first - second) <= band)
    assert np.mean(within_band) == pytest.approx(0.95, abs=0.012)


def test_changes_are_named_by_their_path() -> None:
    base = {"train": {"lr": 0.1, "epochs": 3}, "fetch": {"limit": None}}
    head = {"train": {"lr": 0.2, "epochs": 3}, "index": "Flat"}
    assert find_changes(base, head) == [
        Change(name="train.lr", base=0.1, head=0.2),
        Change(name="index", base=None, head="Flat"),
    ]
    assert find_changes({"a": {"b": 1}}, {}) == [Change(name="a.b", base=1, head=None)]


def lock_entry(cmd: str = "run", deps: object = (), params: object = (), outs: object = ()) -> dict[str, object]:
    """Return a stage of dvc.lock; `deps` and `outs` are path to MD5."""
    files = {"deps": dict(deps), "outs": dict(outs)}  # type: ignore[call-overload]
    hashes = {kind: [{"path": path, "md5": md5} for path, md5 in entries.items()] for kind, entries in files.items()}
    return {"cmd": cmd, "params": {"params.yaml": dict(params)}, **hashes}  # type: ignore[call-overload]


def test_a_stage_changes_because_of_code_parameters_data_or_its_command() -> None:
    base = {
        "same": lock_entry(outs={"a": "1"}, deps={"src/x.py": "1"}),
        "same outputs": lock_entry(outs={"q": "1"}, deps={"src/x.py": "1"}),
        "changed": lock_entry(outs={"b": "1", "c": "1"}, deps={"src/x.py": "1", "a": "1"}, params={"lr": 1}),
        "no reason": lock_entry(outs={"s": "1"}),
        "gone": lock_entry(outs={"g": "1"}),
    }
    head = {
        "same": base["same"],
        "same outputs": lock_entry(outs={"q": "1"}, deps={"src/x.py": "2"}),
        "changed": lock_entry("go", outs={"b": "2", "c": "1"}, deps={"src/x.py": "2", "a": "2"}, params={"lr": 2}),
        "no reason": lock_entry(outs={"s": "2"}),
        "new": lock_entry(outs={"n": "1"}),
    }
    changes = {change.stage: change for change in find_stage_changes(base, head)}
    assert list(changes) == ["changed", "no reason", "new", "gone"]
    assert changes["changed"].outputs == ["b"]
    assert changes["changed"].reasons == {"code": ["src/x.py"], "data": ["a"], "command": ["go"], "params": ["lr"]}
    assert changes["no reason"].reasons == {}
    assert changes["gone"].outputs == ["g"]


def test_the_largest_gains_and_losses_come_first() -> None:
    changes = [Change(name=str(n), base=0.5, head=0.5 + n / 100) for n in range(-8, 9)]
    names = [change.name for change in select_extremes(changes)]
    assert names == ["8", "7", "6", "5", "4", "-8", "-7", "-6", "-5", "-4"]
    assert select_extremes([Change(name="same", base=1.0, head=1.0)]) == []


def make_entries(**similar: list[str]) -> dict[str, Recommended]:
    return {key: Recommended(name=key, category="c", similar=ids) for key, ids in similar.items()}


def test_the_overlap_is_the_share_of_each_products_recommendations_that_stayed() -> None:
    overlap = compare_recommendations(
        make_entries(a=["1", "2", "3", "4"], b=["1", "2"], gone=["1"], none=[]),
        make_entries(a=["4", "3", "9", "8"], b=["2", "1"], new=["1"], none=[]),
    )
    assert overlap is not None
    assert overlap.products == 3
    assert overlap.unchanged == 2
    assert overlap.share == pytest.approx((0.5 + 1 + 1) / 3)
    assert [(product.product_id, product.share) for product in overlap.least] == [("a", 0.5)]
    assert compare_recommendations(make_entries(a=["1"]), make_entries(b=["1"])) is None


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("123456789"), unique=True), min_size=1))
def test_recommendations_overlap_with_themselves_entirely(similar: dict[str, list[str]]) -> None:
    overlap = compare_recommendations(make_entries(**similar), make_entries(**similar))
    assert overlap is not None
    assert overlap.share == 1.0
    assert overlap.unchanged == len(similar)
    assert overlap.least == []
