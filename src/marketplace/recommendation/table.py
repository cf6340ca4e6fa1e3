"""The table of recommendations: for every product its most similar ones."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from marketplace.cluster.placement import apply_to_each
from marketplace.common.files import replacing
from marketplace.common.progress import progress_bar
from marketplace.recommendation.closeness import close_score
from marketplace.recommendation.products import Products
from marketplace.recommendation.rankers import CandidateRanker, ExhaustiveRanker, Ranker, log_loss
from marketplace.recommendation.rules import RecommendSettings, SimilarProducts
from marketplace.vectors.candidates import EXHAUSTIVE_UP_TO_PHOTOS

SIMILARITIES_AT_ONCE = 2**27  # 512 MiB of float32: the memory of a block, besides the vectors
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


def recommendations(products: Products, vectors: np.ndarray, settings: RecommendSettings) -> Iterator[pa.RecordBatch]:
    """Yield the `settings.k` most similar other products of every product, block by block.

    `vectors` `(N, d)`, from `with_words`, are in the order of the training data. Up to EXHAUSTIVE_UP_TO_PHOTOS, every
    product is compared with all others. Above, it is compared with the candidates of an approximate index, and the log
    says how many of the most similar products that loses. The work runs here, or on the workers of a cluster.
    """
    n_products = len(products.table)
    ranker: Ranker = ExhaustiveRanker(products, vectors, settings)
    if len(vectors) > EXHAUSTIVE_UP_TO_PHOTOS:
        exhaustive = ranker
        ranker = CandidateRanker(products, vectors, settings)
        log_loss(n_products, exhaustive, ranker)
    # As many whole products as fit, but at least one.
    block_size = max(1, SIMILARITIES_AT_ONCE // len(vectors) * n_products // len(vectors))
    blocks = np.split(np.arange(n_products), range(block_size, n_products, block_size))
    with progress_bar(total=n_products, description="recommending", unit="product") as progress:
        for numbers, similar in zip(blocks, apply_to_each(ranker, blocks), strict=True):
            yield _record_batch(products, numbers, similar)
            progress.update(len(numbers))


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
            "same_photo": products.photo_groups[similar] == products.photo_groups[queries],
            "same_text": products.text_groups[similar] == products.text_groups[queries],
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
    """Write the table, block by block.

    Its metadata hold the weight of `words`, which questions need, too, the fingerprints of the files that it was
    `made_with`, and the score above which a match is close (see `close_score`).
    """
    validation = pa.array(products.table.loc[products.table["split"] == "val", "product_id"], pa.string())
    judged = [SCHEMA.empty_table()]
    with replacing(path) as part, pq.ParquetWriter(part, SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch)
            judged.append(pa.table(batch).filter(pc.is_in(pc.field("product_id"), validation)))
        close = close_score(products, pa.concat_tables(judged).to_pandas())
        origin = {"words": words, "made_with": made_with or {}, "close": close}
        writer.add_key_value_metadata({name: json.dumps(value) for name, value in origin.items()})
