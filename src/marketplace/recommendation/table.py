"""The table of recommendations: for every product its most similar ones."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from marketplace.cluster.placement import apply_to_each
from marketplace.common.files import replacing
from marketplace.common.progress import progress_bar
from marketplace.recommendation.calibration import Calibration, is_close
from marketplace.recommendation.origin import Origin
from marketplace.recommendation.products import Products
from marketplace.recommendation.rankers import Ranker
from marketplace.recommendation.rules import SimilarProducts

SIMILARITIES_AT_ONCE = 2**27  # 512 MiB of float32: the memory of a block, besides the vectors
SCHEMA = pa.schema(
    [
        ("product_id", pa.string()),
        ("rank", pa.int32()),  # 1 … recommend.k
        ("similar_product_id", pa.string()),
        ("score", pa.float32()),  # the similarity of both products
        ("probability", pa.float32()),  # that a shopper calls it good; null: unknown
        ("close", pa.bool_()),  # whether that is likely, or both share a photo or the title; null: unknown
        ("same_photo", pa.bool_()),  # both products show the same photo, or are linked by others that do
        ("same_text", pa.bool_()),  # both have the same title
    ]
)


def recommendations(products: Products, ranker: Ranker, numbers: np.ndarray | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the most similar other products of every product, block by block; or of those with some `numbers`.

    The work runs here, or on the workers of a cluster. Probabilities are null: `add_probabilities` fills them in.
    """
    n_products = len(products.table)
    if numbers is None:
        numbers = np.arange(n_products)
    block_size = max(1, SIMILARITIES_AT_ONCE // n_products)
    blocks = np.split(numbers, range(block_size, len(numbers), block_size))
    with progress_bar(total=len(numbers), description="recommending", unit="product") as progress:
        for block, similar in zip(blocks, apply_to_each(ranker, blocks), strict=True):
            yield _record_batch(products, block, similar)
            progress.update(len(block))


def _record_batch(products: Products, numbers: np.ndarray, blocks: list[SimilarProducts]) -> pa.RecordBatch:
    ids = products.table["product_id"].to_numpy()
    lengths = [len(block.numbers) for block in blocks]
    queries = np.repeat(numbers, lengths)
    similar = np.concatenate([block.numbers for block in blocks])
    return pa.record_batch(
        {
            "product_id": ids[queries],
            "rank": np.concatenate([np.arange(1, length + 1) for length in lengths]).astype(np.int32),
            "similar_product_id": ids[similar],
            "score": np.concatenate([block.scores for block in blocks]).astype(np.float32),
            "probability": pa.nulls(len(similar), pa.float32()),
            "close": pa.nulls(len(similar), pa.bool_()),
            "same_photo": products.photo_groups[similar] == products.photo_groups[queries],
            "same_text": products.text_groups[similar] == products.text_groups[queries],
        },
        schema=SCHEMA,
    )


def add_probabilities(
    batches: Iterator[pa.RecordBatch], calibration: Calibration, least_probability: float | None
) -> Iterator[pa.RecordBatch]:
    """Fill in `probability` and `close`; leave out less probable recommendations.

    Recommendations that share a photo or the title with the product are close, and are never left out. The ranks of
    the others close up.
    """
    for batch in batches:
        table = batch.to_pandas()
        shared = table["same_photo"] | table["same_text"]
        table["probability"] = calibration.probabilities_of(table["score"].to_numpy()).astype(np.float32)
        table["close"] = is_close(table["probability"], shared)
        if least_probability is not None:
            table = table[shared | (table["probability"] >= least_probability)]
            table["rank"] = (table.groupby("product_id").cumcount() + 1).astype(np.int32)
        yield pa.RecordBatch.from_pandas(table, SCHEMA, preserve_index=False)


def write_recommendations(path: Path, batches: Iterator[pa.RecordBatch], origin: Origin) -> None:
    """Write the table, block by block, with its origin in the metadata."""
    with replacing(path) as part, pq.ParquetWriter(part, SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch)
        writer.add_key_value_metadata(origin.as_metadata())
