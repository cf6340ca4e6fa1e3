"""The metrics of the test split, product by product: photos of one product are right or wrong together."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from marketplace.common.metrics import round_metrics
from marketplace.relevance.uncertainty import Shares, interval_of, resample_totals


class HeldOutProducts:
    """The products of the test split, sorted by id."""

    def __init__(self, table: pd.DataFrame) -> None:
        in_test = (table["split"] == "test").to_numpy()
        ids, numbers = np.unique(table["product_id"].to_numpy(object)[in_test], return_inverse=True)
        self.ids: list[str] = ids.tolist()
        self._number_of_row = np.full(len(table), -1)
        self._number_of_row[in_test] = numbers

    def share_photos(self, values: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, Shares]:
        """Return the shares of metrics of photos, whose `values` `(Q,)` belong to `rows` `(Q,)` of the table."""
        return self._share(values, self._number_of_row[rows])

    def share_products(self, values: Mapping[str, np.ndarray]) -> dict[str, Shares]:
        """Return the shares of metrics of products, whose `values` are `(P,)`."""
        return self._share(values, np.arange(len(self.ids)))

    def measure_macro_f1(
        self, labels: np.ndarray, predicted: np.ndarray, rows: np.ndarray, n_categories: int
    ) -> dict[str, float]:
        """Return macro F1 of the photos in `rows` `(T,)`, with its interval as in `Shares.summarise`.

        A category that is neither there nor predicted counts as 0, as in scikit-learn.
        """
        places = self._number_of_row[rows] * n_categories
        n_cells = len(self.ids) * n_categories
        hits = np.bincount((places + labels)[labels == predicted], minlength=n_cells)
        either = np.bincount(places + labels, minlength=n_cells) + np.bincount(places + predicted, minlength=n_cells)
        columns = np.concatenate([part.reshape(len(self.ids), n_categories) for part in (hits, either)], axis=1)
        low, high = interval_of(_macro_f1(resample_totals(columns)))
        (mean,) = _macro_f1(columns.sum(axis=0)[None])
        return round_metrics({"mean": mean, "low": low, "high": high}) | {"products": len(self.ids)}

    def _share(self, values: Mapping[str, np.ndarray], numbers: np.ndarray) -> dict[str, Shares]:
        return {name: Shares.of(of_metric, numbers, len(self.ids)) for name, of_metric in values.items()}


def _macro_f1(totals: np.ndarray) -> np.ndarray:
    """Return macro F1 `(B,)` by hits and by photos of or assigned to each category: `(B, 2 * n_categories)`."""
    n_hits, n_either = np.split(totals, 2, axis=1)
    return np.asarray((2 * n_hits / np.maximum(n_either, 1)).mean(axis=1))
