"""The upload of a catalogue to Qdrant; see qdrant.py."""

import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from marketplace.common.progress import progress_bar
from marketplace.recommendation.catalogue import Catalogue
from marketplace.recommendation.filters import COLUMNS
from marketplace.recommendation.products import Products
from marketplace.recommendation.similarity import Parts
from marketplace.serving.qdrant import (
    ALIAS,
    IDENTITY,
    KIND,
    PRODUCT_ID,
    SIMILAR,
    aliased_collection,
    point_ids,
    report_failures,
)

log = logging.getLogger(__name__)

CONVERT = {"choice": str, "amount": float, "flag": bool}  # the values of a column, for JSON
POINTS_AT_ONCE = 256
IDS_AT_ONCE = 10_000


def export(client: Any, url: str, catalogue: Catalogue, collection: str) -> None:
    """Make a collection match a catalogue, then move the alias to it.

    Points that are already there stay, so an interrupted export continues where it stopped; points of photos that the
    catalogue no longer has are deleted. Until the alias moves, the previous collection answers. Raises
    UnavailableError.
    """
    points = point_ids(catalogue.products)
    similar = catalogue.parts
    photos: dict[str, Any] = {IDENTITY: catalogue.identity, KIND: catalogue.vectors.kind}
    with report_failures(url):
        if not client.collection_exists(collection):
            dimensions = {name: values.shape[1] for name, values in {**photos, SIMILAR: similar}.items()}
            _create_collection(client, collection, dimensions)
        stored_points = set(_stored_points(client, collection))
        obsolete_points = sorted(stored_points - set(points))
        new_rows = np.array([row for row, point in enumerate(points) if point not in stored_points], dtype=int)
        log.info("%s: %s new photos, %s deleted", collection, f"{len(new_rows):,}", f"{len(obsolete_points):,}")
        _delete(client, collection, obsolete_points)
        _upload(client, collection, catalogue.products, points, similar, photos, new_rows)
        point_alias(client, collection)


def _create_collection(client: Any, collection: str, dimensions: dict[str, int]) -> None:
    from qdrant_client import models

    unsearched = models.HnswConfigDiff(m=0)  # no graph
    vectors = {
        name: models.VectorParams(
            size=size,
            distance=models.Distance.DOT,
            on_disk=True,
            hnsw_config=unsearched if name == KIND else None,
        )
        for name, size in dimensions.items()
    }
    schemas = {
        "choice": models.PayloadSchemaType.KEYWORD,
        "amount": models.PayloadSchemaType.FLOAT,
        "flag": models.PayloadSchemaType.BOOL,
    }
    client.create_collection(collection, vectors_config=vectors)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a folder needs no indexes, and warns
        client.create_payload_index(collection, PRODUCT_ID, field_schema=models.PayloadSchemaType.KEYWORD)
        for column, kind in COLUMNS.items():
            client.create_payload_index(collection, column, field_schema=schemas[kind])


def _stored_points(client: Any, collection: str) -> Iterator[str]:
    """Yield the ids of all points of a collection."""
    offset = None
    while True:
        records, offset = client.scroll(
            collection, limit=IDS_AT_ONCE, offset=offset, with_payload=False, with_vectors=False
        )
        yield from (str(record.id) for record in records)
        if offset is None:
            return


def _delete(client: Any, collection: str, points: list[str]) -> None:
    from qdrant_client import models

    for start in range(0, len(points), IDS_AT_ONCE):
        selector = models.PointIdsList(points=list(points[start : start + IDS_AT_ONCE]))
        client.delete(collection, points_selector=selector, wait=True)


def _upload(
    client: Any,
    collection: str,
    products: Products,
    points: list[str],
    similar: Parts,
    photos: dict[str, Any],
    rows: np.ndarray,
) -> None:
    """Upload the points of some rows of the training data.

    `similar` belongs to products; `photos` has vectors `(N, d)` by their name in a point.
    """
    from qdrant_client import models

    payloads = _payloads(products)
    product_of_first_photo = {int(row): number for number, row in enumerate(products.photos[products.starts])}
    with progress_bar(total=len(rows), description="uploading vectors", unit="photo") as progress:
        for start in range(0, len(rows), POINTS_AT_ONCE):
            block = rows[start : start + POINTS_AT_ONCE]
            numbers = [product_of_first_photo.get(row) for row in block.tolist()]
            batch = [
                models.PointStruct(id=points[row], vector=vectors, payload=payloads[products.product_of_row[row]])
                for row, vectors in zip(block.tolist(), _vectors_of(block, numbers, similar, photos), strict=True)
            ]
            client.upsert(collection, points=batch, wait=True)
            progress.update(len(batch))


def _vectors_of(
    rows: np.ndarray, numbers: list[int | None], similar: Parts, photos: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the vectors of the points of some rows, whose first photos have the `numbers` of their products."""
    of_products = iter(similar[np.array([number for number in numbers if number is not None], dtype=np.int64)])
    of_photos = [photos[name][rows] for name in photos]
    for number, *values in zip(numbers, *of_photos, strict=True):
        vectors = {name: vector.tolist() for name, vector in zip(photos, values, strict=True)}
        if number is not None:
            vectors[SIMILAR] = next(of_products).tolist()
        yield vectors


def _payloads(products: Products) -> list[dict[str, Any]]:
    """Return the payload of each product's points: its id, and the columns that filters compare."""
    columns = {PRODUCT_ID: products.table[PRODUCT_ID].tolist()}
    for column, kind in COLUMNS.items():
        convert = CONVERT[kind]
        columns[column] = [None if value is None else convert(value) for value in products.table[column]]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def point_alias(client: Any, collection: str) -> None:
    """Let the alias name a collection, in one step."""
    from qdrant_client import models

    previous = aliased_collection(client)
    if previous == collection:
        return
    create = models.CreateAlias(collection_name=collection, alias_name=ALIAS)
    changes: list[Any] = [models.CreateAliasOperation(create_alias=create)]
    if previous:
        delete = models.DeleteAlias(alias_name=ALIAS)
        changes.insert(0, models.DeleteAliasOperation(delete_alias=delete))
        log.info("the collection %s is no longer used: delete it once you are sure", previous)
    client.update_collection_aliases(change_aliases_operations=changes)
