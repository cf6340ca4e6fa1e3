"""Which of two lists people prefer."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from marketplace.serving.comparison import RevisionComparison, rank_change
from marketplace.serving.feedback import FEEDBACK, Feedback, Verdict, describe_verdicts
from marketplace.serving.preferences import Better, ComparedTables, sign_test

TABLES = ComparedTables(before="old", now="new")
Listed = st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1)


@settings(deadline=None)
@given(wins=st.integers(0, 60), losses=st.integers(0, 60))
def test_the_sign_test_is_scipys(wins: int, losses: int) -> None:
    expected = binomtest(wins, wins + losses).pvalue if wins + losses else 1
    assert sign_test(wins, losses) == pytest.approx(expected)


@given(before=Listed, now=Listed)
def test_a_list_changes_from_nothing_to_everything(before: list[str], now: list[str]) -> None:
    change = rank_change(before, now)
    assert -1e-9 <= change <= 1 + 1e-9
    assert rank_change(before, before) == 0
    assert change == pytest.approx(rank_change(now, before))
    assert (change == pytest.approx(1)) == (not set(before) & set(now))


def test_the_lists_that_changed_most_come_first() -> None:
    now = {"same": ["a", "b"], "swapped": ["b", "a"], "other": ["c", "d"], "last": ["a", "d"], "arrived": ["a"]}
    before = {product_id: ["a", "b"] for product_id in ("same", "swapped", "other", "last", "left")}
    comparison = RevisionComparison("main", before, now, TABLES)
    assert [change.product_id for change in comparison.changes] == ["other", "swapped", "last"]
    assert [(change.new, change.gone) for change in comparison.changes] == [(2, 2), (0, 0), (1, 1)]
    assert comparison.n_products == 4


def test_judging_meets_every_changed_list_once() -> None:
    ids = [f"p{number}" for number in range(20)]
    now = {product_id: ["a"] for product_id in ids}
    comparison = RevisionComparison("main", {product_id: ["b"] for product_id in ids} | {"p3": ["a"]}, now, TABLES)
    verdicts: dict[str, Better] = {}
    while (product_id := comparison.next_to_judge(verdicts)) is not None:
        verdicts[product_id] = "equal"
    assert sorted(verdicts) == sorted(set(ids) - {"p3"})
    assert list(verdicts) != sorted(verdicts)
    order = list(verdicts)
    assert comparison.next_to_judge({}, after=order[0]) == order[1]
    assert comparison.next_to_judge({}, after=order[-1]) == order[0]
    sides = [comparison.compare(product_id, lambda _: None).now_first for product_id in ids]
    assert 4 < sum(sides) < 16


def verdict(product_id: str, better: Better, tables: ComparedTables = TABLES, revision: str = "main") -> Verdict:
    return Verdict(product_id=product_id, tables=tables, revision=revision, better=better)


def test_the_last_verdict_counts_and_only_on_the_same_tables(tmp_path: Path) -> None:
    ratings = Feedback(tmp_path / FEEDBACK)
    assert ratings.verdicts() == []
    ratings.give_verdict(verdict("a", "before"))
    ratings.give_verdict(verdict("a", "now"))
    ratings.give_verdict(verdict("b", "equal"))
    ratings.give_verdict(verdict("c", "before", ComparedTables(before="older", now="new"), "v1"))
    ratings.give_verdict(verdict("d", "before", ComparedTables(before="old", now="newest")))
    assert describe_verdicts(ratings.verdicts(), "new") == [
        "current preferred once, main 0, equal 1; p = 1",
        "current preferred 0 times, v1 1, equal 0; p = 1",
        "1 verdict is on other recommendations than the current ones",
    ]
    assert ratings.grades() == {} and ratings.thumbs() == []
