"""Verdicts, noise, and what differs between two revisions, on values made by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.common.errors import MarketplaceError
from marketplace.review.changes import Change, changed, changed_stages, compare_recommendations, extremes
from marketplace.review.noise import band_of, noise_of
from marketplace.review.verdicts import Outcome, Rule, Verdict, policy_of, verdicts

HIGHER = Rule(better="higher", tolerance=0.01, blocks=True)
LOWER = Rule(better="lower", tolerance=0.01, blocks=False)


def only(base: object, head: object, rule: Rule = HIGHER, noise: dict[str, object] | None = None) -> Verdict:
    before = {} if base is None else {"m": base}
    after = {} if head is None else {"m": head}
    (verdict,) = verdicts(before, after, {"m": rule}, noise)
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
    ],
)
def test_a_verdict(base: object, head: object, rule: Rule, outcome: Outcome, blocks: bool) -> None:
    verdict = only(base, head, rule)
    assert (verdict.outcome, verdict.blocks) == (outcome, blocks)


def test_the_wider_of_noise_and_tolerance_counts() -> None:
    noise = noise_of([{"m": 0.4}, {"m": 0.5}, {"m": 0.6}], [1, 2, 3], "abc")
    assert only(0.9, 0.5, noise=noise).outcome is Outcome.NOISE  # 4.303 * 0.1 * sqrt(2) = 0.61
    assert only(0.9, 0.5).outcome is Outcome.WORSE
    still = noise_of([{"m": 0.5}, {"m": 0.5}], [1, 2], "abc")
    assert only(0.5, 0.495, noise=still).outcome is Outcome.NOISE
    assert only(0.5, 0.48, noise=still).outcome is Outcome.WORSE
    other = noise_of([{"n": 0.1}, {"n": 0.9}], [1, 2], "abc")
    assert only(0.5, 0.48, noise=other).outcome is Outcome.WORSE


def test_metrics_that_the_policy_does_not_know_are_told_and_block_nothing() -> None:
    found = verdicts({"m": 1.0, "n": 1.0}, {"m": 1.0, "n": 0.0}, {"m": HIGHER}, None)
    assert [(verdict.metric, verdict.outcome, verdict.blocks) for verdict in found] == [
        ("m", Outcome.SAME, False),
        ("n", Outcome.WORSE, False),
    ]


@given(base=st.floats(0, 1), head=st.floats(0, 1), tolerance=st.floats(0, 0.2))
def test_what_is_better_one_way_is_worse_the_other(base: float, head: float, tolerance: float) -> None:
    rule = Rule(better="higher", tolerance=tolerance, blocks=True)
    there, back = only(base, head, rule).outcome, only(head, base, rule).outcome
    mirrored = {Outcome.BETTER: Outcome.WORSE, Outcome.WORSE: Outcome.BETTER}
    assert back == mirrored.get(there, there)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"m": {"better": "up", "tolerance": 0, "blocks": True}}, "m.better"),
        ({"m": {"better": "higher", "tolerance": -1, "blocks": True}}, "m.tolerance"),
        ({"m": {"better": "higher", "tolerance": 0, "blocks": True, "block": 1}}, "m.block"),
        (["m"], "policy.yaml"),
    ],
)
def test_a_wrong_policy_is_refused_by_name(values: object, said: str) -> None:
    with pytest.raises(MarketplaceError, match=said):
        policy_of(values)


def test_noise_is_the_mean_and_the_sample_deviation() -> None:
    noise = noise_of([{"m": 1.0}, {"m": 2.0}, {"m": 4.0}], [1, 2, 3], "abc")
    assert noise["metrics"]["m"] == {"mean": 2.33333, "spread": 1.52753, "values": [1.0, 2.0, 4.0]}
    assert (noise["seeds"], noise["training_data"]) == ([1, 2, 3], "abc")
    assert band_of(noise, "n") is None


@pytest.mark.parametrize("n_seeds", [3, 5, 10])
def test_two_runs_differ_by_no_more_than_the_band_in_95_of_100_cases(n_seeds: int) -> None:
    rng = np.random.default_rng(n_seeds)
    inside = []
    for _ in range(4000):
        values = rng.normal(0.9, 0.02, n_seeds)
        noise = {"metrics": {"m": {"spread": float(np.std(values, ddof=1)), "values": values.tolist()}}}
        one, other = rng.normal(0.9, 0.02, 2)
        band = band_of(noise, "m")
        assert band is not None
        inside.append(abs(one - other) <= band)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.012)


def test_changed_values_are_named_by_their_path() -> None:
    base = {"train": {"lr": 0.1, "epochs": 3}, "fetch": {"limit": None}}
    head = {"train": {"lr": 0.2, "epochs": 3}, "index": "Flat"}
    assert changed(base, head) == [Change("train.lr", 0.1, 0.2), Change("index", None, "Flat")]
    assert changed({"a": {"b": 1}}, {}) == [Change("a.b", 1, None)]


def entry(cmd: str = "run", deps: object = (), params: object = (), outs: object = ()) -> dict[str, object]:
    listed = {"deps": dict(deps), "outs": dict(outs)}  # type: ignore[call-overload]
    hashes = {kind: [{"path": path, "md5": md5} for path, md5 in items.items()] for kind, items in listed.items()}
    return {"cmd": cmd, "params": {"params.yaml": dict(params)}, **hashes}  # type: ignore[call-overload]


def test_a_stage_changed_because_of_code_parameters_data_or_its_command() -> None:
    base = {
        "same": entry(outs={"a": "1"}, deps={"src/x.py": "1"}),
        "quiet": entry(outs={"q": "1"}, deps={"src/x.py": "1"}),
        "moved": entry(outs={"b": "1", "c": "1"}, deps={"src/x.py": "1", "a": "1"}, params={"lr": 1}),
        "strange": entry(outs={"s": "1"}),
        "gone": entry(outs={"g": "1"}),
    }
    head = {
        "same": base["same"],
        "quiet": entry(outs={"q": "1"}, deps={"src/x.py": "2"}),
        "moved": entry("go", outs={"b": "2", "c": "1"}, deps={"src/x.py": "2", "a": "2"}, params={"lr": 2}),
        "strange": entry(outs={"s": "2"}),
        "new": entry(outs={"n": "1"}),
    }
    found = {change.stage: change for change in changed_stages(base, head)}
    assert list(found) == ["moved", "strange", "new", "gone"]
    assert found["moved"].outputs == ["b"]
    assert found["moved"].reasons == {"code": ["src/x.py"], "data": ["a"], "command": ["go"], "params": ["lr"]}
    assert found["strange"].reasons == {}
    assert found["gone"].outputs == ["g"]


def test_who_gained_and_lost_most_comes_first() -> None:
    changes = [Change(str(n), 0.5, 0.5 + n / 100) for n in range(-8, 9)]
    assert [change.name for change in extremes(changes)] == ["8", "7", "6", "5", "4", "-8", "-7", "-6", "-5", "-4"]
    assert extremes([Change("same", 1.0, 1.0)]) == []


def probe(**similar: list[str]) -> list[dict[str, object]]:
    return [{"product_id": key, "name": key, "category": "c", "similar": ids} for key, ids in similar.items()]


def test_overlap_is_the_share_of_each_products_recommendations_that_stayed() -> None:
    found = compare_recommendations(
        probe(a=["1", "2", "3", "4"], b=["1", "2"], gone=["1"], none=[]),
        probe(a=["4", "3", "9", "8"], b=["2", "1"], new=["1"], none=[]),
    )
    assert found is not None
    assert (found.products, found.unchanged) == (3, 2)
    assert found.share == pytest.approx((0.5 + 1 + 1) / 3)
    assert [(moved.product_id, moved.share) for moved in found.least] == [("a", 0.5)]
    assert compare_recommendations(probe(a=["1"]), probe(b=["1"])) is None


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("123456789"), unique=True), min_size=1))
def test_recommendations_overlap_with_themselves(similar: dict[str, list[str]]) -> None:
    found = compare_recommendations(probe(**similar), probe(**similar))
    assert found is not None
    assert (found.share, found.unchanged, found.least) == (1.0, len(similar), [])
