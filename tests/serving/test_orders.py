"""The order of a list by price."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from marketplace.serving.orders import highest_usual_price, order_by_price

PRICES = st.lists(st.one_of(st.just(np.nan), st.floats(0, 1e9)), max_size=40).map(np.array)


@given(PRICES, st.floats(0, 1e9))
def test_prices_rise_or_fall_and_products_without_one_come_last(prices: np.ndarray, highest: float) -> None:
    cheapest = prices[order_by_price(prices, "cheapest", highest)]
    dearest = prices[order_by_price(prices, "dearest", highest)]
    known = prices[~np.isnan(prices)]
    usual = known[known <= highest]
    unusual = known[known > highest]
    assert cheapest[: len(known)].tolist() == sorted(known)
    assert dearest[: len(known)].tolist() == [*sorted(usual, reverse=True), *sorted(unusual, reverse=True)]
    assert np.isnan(cheapest[len(known) :]).all() and np.isnan(dearest[len(known) :]).all()


def test_ten_million_for_a_sofa_is_unusual_and_a_car_is_not() -> None:
    prices = np.array([5, 10, 20, 20, 35, 50, 60, 80, 100, 150, 400, 9_000, 25_000, 10_000_000, 0, np.nan])
    highest = highest_usual_price(prices)
    assert 25_000 < highest < 10_000_000
    assert prices[order_by_price(prices, "dearest", highest)][:3].tolist() == [25_000, 9_000, 400]
    assert highest_usual_price(np.array([np.nan, 0.0])) == np.inf
    assert highest_usual_price(np.array([10.0, 10.0, 12.0])) > 12
