"""The one ranking of similar products, for the table of recommendations and for single questions.

A photo's vector here is its kind vector beside its product's text vector, so that one inner product compares both. Two
products are as similar as their most similar pair of photos. Of listings that share a photo or a title, only the best
is recommended, marked if the product that was asked about shares it too.
"""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field
from tqdm import tqdm

from marketplace.common.files import replacing
from marketplace.common.params import Section
from marketplace.embedding.candidates import EXACT_UP_TO, Candidates
from marketplace.recommendation.filters import FilteredTable, Filters
from marketplace.recommendation.index import nearest_among
from marketplace.recommendation.products import Products

log = logging.getLogger(__name__)
FEW = 5_000  # photos that are compared one by one rather than asked of the index: that takes a few milliseconds
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


@dataclass(frozen=True)
class Search:
    """An index, exact or approximate, and the vectors in it."""

    index: Any
    vectors: np.ndarray  # (N, d)


@dataclass(frozen=True)
class Ranked:
    """A similar product: its number in the table of products, its score, and what it shares with the question."""

    number: int
    score: float
    same_photo: bool
    same_text: bool


def with_words(kinds: np.ndarray, texts: np.ndarray, words: float) -> np.ndarray:
    """Kind vectors `(N, k)` and the text vectors `(N, t)` of their products side by side: `(N, k + t)`.

    The inner product of two of them is (1 - words) times the similarity of the photos plus words times that of the
    texts. For a question about photos or texts alone, the other part is zero.
    """
    return np.hstack([(1 - words) ** 0.5 * kinds, words**0.5 * texts]).astype(np.float32)


def nearest_products(
    products: Products, search: "Search", vectors: np.ndarray, k: int, passing: np.ndarray, asked: np.ndarray
) -> list[Ranked]:
    """The `k` products most similar to a question, given as vectors `(Q, d)`.

    `passing` `(P,) bool` says which products may be listed, `asked` are the numbers of the products that the question
    is about, if any. The index is asked for more and more photos until there are k products. An approximate one may not
    find them among those that pass: then they are compared one by one, as they are if few pass.
    """
    among = passing[products.product_of_row]
    n_photos = int(among.sum())
    depth = 4 * k
    while n_photos > FEW and depth < n_photos:
        scores, rows = nearest_among(search.index, vectors, among, depth)
        # A vector's list is complete down to its last score; below the highest of these, something may be missing.
        found = (rows >= 0) & (scores >= scores[:, -1].max())
        ranked = _ranked(products, rows[found], scores[found], k, asked)
        if len(ranked) == k:
            return ranked
        if (rows < 0).any():
            break
        depth *= 4
    rows = np.flatnonzero(among)
    scores = vectors @ search.vectors[rows].T
    return _ranked(products, np.tile(rows, len(vectors)), scores.ravel(), k, asked)


def _ranked(products: Products, rows: np.ndarray, scores: np.ndarray, k: int, asked: np.ndarray) -> list[Ranked]:
    """The `k` best products of those that rows show, with the scores of the rows."""
    numbers, best = _best_by_product(products, rows, scores)
    chosen = one_per_group(best, products.groups[numbers], k)
    ranked = numbers[chosen]
    same_photo = np.isin(products.photo_groups[ranked], products.photo_groups[asked]).tolist()
    same_text = np.isin(products.text_groups[ranked], products.text_groups[asked]).tolist()
    return [Ranked(*found) for found in zip(ranked.tolist(), best[chosen].tolist(), same_photo, same_text, strict=True)]


def _best_by_product(products: Products, rows: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The products that photos `rows` show, and the highest of the photos' scores for each."""
    numbers, place = np.unique(products.product_of_row[rows], return_inverse=True)
    best = np.full(len(numbers), -np.inf, dtype=np.float32)
    np.maximum.at(best, place, scores)
    return numbers, best


def recommendations(products: Products, vectors: np.ndarray, settings: RecommendSettings) -> Iterator[pa.RecordBatch]:
    """For every product its `settings.k` most similar other products, block by block.

    `vectors` `(N, d)`, from `with_words`, are in the order of the training data. Up to EXACT_UP_TO photos, every
    product is compared with all others. Beyond, an approximate index says which to compare it with, and how many of the
    most similar ones that loses is logged.
    """
    of_block = _compared_with_all(products, vectors, settings)
    if len(vectors) > EXACT_UP_TO:
        exact, of_block = of_block, _compared_with_candidates(products, vectors, settings, of_block)
        _log_loss(len(products.table), exact, of_block)
    # As many whole products as fit, but at least one.
    fitting = max(1, SIMILARITIES_AT_ONCE // len(vectors) * len(products.table) // len(vectors))
    with tqdm(total=len(products.table), desc="recommending", unit="product", mininterval=0.5) as progress:
        for first in range(0, len(products.table), fitting):
            numbers = np.arange(first, min(first + fitting, len(products.table)))
            yield _record_batch(products, numbers, of_block(numbers))
            progress.update(len(numbers))


Best = tuple[np.ndarray, np.ndarray]  # the numbers of similar products, most similar first, and their scores
BestOf = Callable[[np.ndarray], list[Best]]


def _compared_with_all(products: Products, vectors: np.ndarray, settings: RecommendSettings) -> BestOf:
    """A function that compares a block of products with all others."""
    table = FilteredTable(products.table)

    def best_of(numbers: np.ndarray) -> list[Best]:
        photos, starts = products.photos_of_block(numbers)
        by_product = highest((vectors @ vectors[photos].T)[products.photos], products.starts)  # (P, photos)
        scores = highest(np.ascontiguousarray(by_product.T), starts)
        found = []
        for row, number in zip(scores, numbers.tolist(), strict=True):
            row[~table.passing(_filters_for(products, number, settings))] = -np.inf
            row[number] = -np.inf  # never a product for itself
            chosen = one_per_group(row, products.groups, settings.k)
            found.append((chosen, row[chosen]))
        return found

    return best_of


def _compared_with_candidates(
    products: Products, vectors: np.ndarray, settings: RecommendSettings, exact: BestOf
) -> BestOf:
    """A function that compares a block of products with what an index finds, and with all where that is too little."""
    candidates, table = Candidates(vectors), FilteredTable(products.table)

    def best_of(numbers: np.ndarray) -> list[Best]:
        photos, starts = products.photos_of_block(numbers)
        scores, rows = candidates.nearest(vectors[photos], CANDIDATES * settings.k)
        found = []
        for number, mine in zip(numbers.tolist(), np.split(np.arange(len(photos)), starts[1:]), strict=True):
            there = rows[mine] >= 0
            others, best = _best_by_product(products, rows[mine][there], scores[mine][there])
            passing = table.passing(_filters_for(products, number, settings), others) & (others != number)
            others, best = others[passing], best[passing]
            chosen = one_per_group(best, products.groups[others], settings.k)
            enough = len(chosen) == settings.k
            found.append((others[chosen], best[chosen]) if enough else exact(np.array([number]))[0])
        return found

    return best_of


def _log_loss(n_products: int, exact: BestOf, approximate: BestOf) -> None:
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


def highest(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The maxima `(len(starts), M)` of the rows of `values` `(N, M)` from each start up to the next.

    The same as `np.maximum.reduceat`, which takes ten times as long if few rows belong together.
    """
    counts = np.diff(starts, append=len(values))
    result: np.ndarray = values[starts]
    for place in range(1, counts.max(initial=1)):
        longer = np.flatnonzero(counts > place)
        result[longer] = np.maximum(result[longer], values[starts[longer] + place])
    return result


def one_per_group(scores: np.ndarray, groups: np.ndarray, k: int) -> np.ndarray:
    """The places `(<= k,)` of the highest finite scores `(P,)`, highest first, each of another group.

    Equal scores are ordered by place.
    """
    looked_at = min(len(scores), 4 * k)
    while True:
        candidates = np.arange(len(scores))
        if looked_at < len(scores):
            # All that reach the lowest score of the highest few, so that a tie is not cut at random.
            candidates = np.flatnonzero(scores >= -np.partition(-scores, looked_at - 1)[looked_at - 1])
        order = candidates[np.argsort(-scores[candidates], kind="stable")]
        order = order[np.isfinite(scores[order])]
        chosen: np.ndarray = order[np.sort(np.unique(groups[order], return_index=True)[1])][:k]
        if len(chosen) == k or len(candidates) == len(scores):
            return chosen
        looked_at = len(scores)


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
    path: Path, batches: Iterator[pa.RecordBatch], words: float, made_with: dict[str, str] | None = None
) -> None:
    """Write the table, block after block.

    `words` is kept with it, since questions need the same weight, and so are the fingerprints of what it was
    `made_with`.
    """
    schema = SCHEMA.with_metadata({"words": repr(words), "made_with": json.dumps(made_with or {})})
    with replacing(path) as part, pq.ParquetWriter(part, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def origin_of(path: Path) -> tuple[float, dict[str, str]]:
    """The weight of words and the fingerprints that a table of recommendations was made with."""
    metadata = pq.read_schema(path).metadata
    return float(metadata[b"words"]), json.loads(metadata[b"made_with"])


def best_products(products: Products, scores: np.ndarray, k: int, passing: np.ndarray) -> list[Ranked]:
    """The `k` products with the highest scores `(P,)` of those in `passing` `(P,) bool`, one of each group."""
    chosen = one_per_group(np.where(passing, scores, -np.inf), products.groups, k)
    return [Ranked(int(number), float(scores[number]), same_photo=False, same_text=False) for number in chosen]
