"""The table of recommendations: for every product its most similar ones."""

import json
import logging
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from marketplace.cluster.placement import apply_to_each
from marketplace.common.files import replacing
from marketplace.common.params import Section
from marketplace.common.progress import progress_bar
from marketplace.recommendation.closeness import close_score
from marketplace.recommendation.filters import FilteredTable, Filters
from marketplace.recommendation.products import Products
from marketplace.recommendation.ranking import best_by_product, highest, one_per_group
from marketplace.vectors.candidates import EXACT_UP_TO, Candidates

log = logging.getLogger(__name__)
CANDIDATES = 8  # photos that an index is asked for, times the number of recommendations
LOSS_PRODUCTS = 200
SIMILARITIES_AT_ONCE = 2**27  # 512 MiB of float32: the memory of the table, besides the vectors
SCHEMA = pa.schema(
    [
        ("product_id", pa.string()),
        ("rank", pa.int32()),  # 1 … recommend.k
        ("similar_product_id", pa.string()),
        ("score", pa.float32()),  # of the two most similar photos, and the words of both products
        ("same_photo", pa.bool_()),  # both products show the same photo, or are linked by others that do
        ("same_text", pa.bool_()),  # both have the same title
    ]
)


class RecommendSettings(Section):
    """The rules for recommendations, their number, and the index for new photos."""

    k: Annotated[int, Field(ge=1)]
    words: Annotated[float, Field(ge=0, le=1)]
    same_category: bool
    same_location: bool
    price_factor: Annotated[float, Field(ge=1)] | None
    index: Annotated[str, Field(min_length=1)]
    index_search: Annotated[str, Field(min_length=1)] | None


Best = tuple[np.ndarray, np.ndarray]  # the numbers of similar products, most similar first, and their scores


class Comparison(Protocol):
    """What is similar to the products of a block."""

    def __call__(self, numbers: np.ndarray) -> list[Best]:
        """The best products for each of those with the given numbers."""


def recommendations(products: Products, vectors: np.ndarray, settings: RecommendSettings) -> Iterator[pa.RecordBatch]:
    """For every product its `settings.k` most similar other products, block by block: here, or on a cluster's workers.

    `vectors` `(N, d)`, from `with_words`, are in the order of the training data. Up to EXACT_UP_TO photos, every
    product is compared with all others. Beyond, an approximate index says which to compare it with, and how many of the
    most similar ones that loses is logged.
    """
    compare: Comparison = WithAll(products, vectors, settings)
    if len(vectors) > EXACT_UP_TO:
        exact, compare = compare, WithCandidates(products, vectors, settings)
        _log_loss(len(products.table), exact, compare)
    # As many whole products as fit, but at least one.
    fitting = max(1, SIMILARITIES_AT_ONCE // len(vectors) * len(products.table) // len(vectors))
    blocks = np.split(np.arange(len(products.table)), range(fitting, len(products.table), fitting))
    with progress_bar(total=len(products.table), what="recommending", unit="product") as progress:
        for numbers, best in zip(blocks, apply_to_each(compare, blocks), strict=True):
            yield _record_batch(products, numbers, best)
            progress.update(len(numbers))


class WithAll:
    """Compares a block of products with all others."""

    def __init__(self, products: Products, vectors: np.ndarray, settings: RecommendSettings) -> None:
        self._products, self._vectors, self._settings = products, vectors, settings
        self._table = FilteredTable(products.table)

    def __call__(self, numbers: np.ndarray) -> list[Best]:
        """See Comparison."""
        products, vectors = self._products, self._vectors
        photos, starts = products.photos_of_block(numbers)
        by_product = highest((vectors @ vectors[photos].T)[products.photos], products.starts)  # (P, photos)
        scores = highest(np.ascontiguousarray(by_product.T), starts)
        found = []
        for row, number in zip(scores, numbers.tolist(), strict=True):
            row[~self._table.passing(_filters_for(products, number, self._settings))] = -np.inf
            row[number] = -np.inf  # never a product for itself
            chosen = one_per_group(row, products.groups, self._settings.k)
            found.append((chosen, row[chosen]))
        return found


class WithCandidates:
    """Compares a block of products with what an index finds, and with all others where that is too little."""

    def __init__(self, products: Products, vectors: np.ndarray, settings: RecommendSettings) -> None:
        self._products, self._vectors, self._settings = products, vectors, settings
        self._table, self._candidates = FilteredTable(products.table), Candidates(vectors)
        self._exact = WithAll(products, vectors, settings)

    def __call__(self, numbers: np.ndarray) -> list[Best]:
        """See Comparison."""
        products, k = self._products, self._settings.k
        photos, starts = products.photos_of_block(numbers)
        scores, rows = self._candidates.nearest(self._vectors[photos], CANDIDATES * k)
        found = []
        for number, mine in zip(numbers.tolist(), np.split(np.arange(len(photos)), starts[1:]), strict=True):
            there = rows[mine] >= 0
            others, best = best_by_product(products, rows[mine][there], scores[mine][there])
            passing = self._table.passing(_filters_for(products, number, self._settings), others) & (others != number)
            others, best = others[passing], best[passing]
            chosen = one_per_group(best, products.groups[others], k)
            enough = len(chosen) == k
            found.append((others[chosen], best[chosen]) if enough else self._exact(np.array([number]))[0])
        return found


def _log_loss(n_products: int, exact: Comparison, approximate: Comparison) -> None:
    """Say how many of the most similar products an index finds, by comparing some products with all others."""
    some = np.sort(np.random.default_rng(0).permutation(n_products)[:LOSS_PRODUCTS])
    shares = []
    for number in some.tolist():  # one by one: a block of them would take gigabytes
        (wanted, _), (found, _) = exact(np.array([number]))[0], approximate(np.array([number]))[0]
        shares.append(np.isin(wanted, found).mean() if len(wanted) else 1.0)
    log.info(
        "%s products: an index finds candidates, and %.3f of what comparing all would recommend (%d products compared)",
        *(f"{n_products:,}", np.mean(shares), len(some)),
    )


def _filters_for(products: Products, number: int, settings: RecommendSettings) -> Filters:
    """The filters on a product's recommendations by `recommend.same_*` and `recommend.price_factor`.

    A product without a price gets recommendations of any price.
    """
    product = products.product(number)
    lowest = highest_price = None
    if settings.price_factor is not None and product.price is not None:
        factor = Decimal(settings.price_factor)
        lowest, highest_price = float(product.price / factor), float(product.price * factor)
    return Filters(
        category=products.categories[number] if settings.same_category else None,
        location=product.location if settings.same_location else None,
        min_price=lowest,
        max_price=highest_price,
    )


def _record_batch(products: Products, numbers: np.ndarray, best: list[Best]) -> pa.RecordBatch:
    ids = products.table["product_id"].to_numpy()
    lengths = [len(similar) for similar, _ in best]
    similar = np.concatenate([numbers_of for numbers_of, _ in best])
    asked = np.repeat(numbers, lengths)
    return pa.record_batch(
        {
            "product_id": ids[asked],
            "rank": np.concatenate([np.arange(1, length + 1) for length in lengths]).astype(np.int32),
            "similar_product_id": ids[similar],
            "score": np.concatenate([scores for _, scores in best]).astype(np.float32),
            "same_photo": products.photo_groups[similar] == products.photo_groups[asked],
            "same_text": products.text_groups[similar] == products.text_groups[asked],
        },
        schema=SCHEMA,
    )


def write_recommendations(
    path: Path,
    products: Products,
    batches: Iterator[pa.RecordBatch],
    words: float,
    made_with: dict[str, str] | None = None,
) -> None:
    """Write the table, block after block.

    `words` is kept with it, since questions need the same weight, and so are the fingerprints of what it was
    `made_with`, and the score from which on a match is close (see `close_score`).
    """
    validation = pa.array(products.table.loc[products.table["split"] == "val", "product_id"], pa.string())
    judged: list[pa.Table] = [SCHEMA.empty_table()]
    with replacing(path) as part, pq.ParquetWriter(part, SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch)
            judged.append(pa.table(batch).filter(pc.is_in(pc.field("product_id"), validation)))
        close = close_score(products, pa.concat_tables(judged).to_pandas())
        origin = {"words": words, "made_with": made_with or {}, "close": close}
        writer.add_key_value_metadata({name: json.dumps(value) for name, value in origin.items()})
