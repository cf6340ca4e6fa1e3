"""The order of a list by price."""

import numpy as np

from marketplace.serving.answers import Order

FENCE = 3.0  # interquartile ranges of the logarithms: beyond it, Tukey (1977) calls a value far out


def order_by_price(prices: np.ndarray, order: Order, highest_usual: float) -> np.ndarray:
    """Return the places of `prices` `(n,)` in an order by price. NaN, no price, comes last.

    From the highest price to the lowest, those above `highest_usual` come after all others that have a price: nobody
    looks for a sofa at ten million pounds.
    """
    if order == "cheapest":
        return np.argsort(prices, kind="stable")
    unusual = prices > highest_usual
    return np.lexsort((-prices, unusual, np.isnan(prices)))


def highest_usual_price(prices: np.ndarray) -> float:
    """Return the price above which a price of a catalogue is far out; infinity without prices."""
    logarithms = np.log(prices[prices > 0])
    if not len(logarithms):
        return np.inf
    low, high = np.quantile(logarithms, [0.25, 0.75])
    return float(np.exp(high + FENCE * max(high - low, np.log(2))))
