"""A Qdrant collection in place of the indexes: vectors, filters and similarities live in a database of their own.

A point is a photo, with the vectors of both indexes and what filters look at. A collection holds the vectors of one run
and is named by their hash; the alias ALIAS names the one that answers. Qdrant's client also works on a folder, without
a server: that is for trials and tests, and as slow as a few thousand photos allow.
"""

import hashlib
import logging
import os
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import numpy as np

from marketplace.common.errors import MarketplaceError, UnavailableError, first_line
from marketplace.common.progress import progress_bar
from marketplace.recommendation.catalogue import Catalogue
from marketplace.recommendation.filters import COLUMNS, Condition, Filters
from marketplace.recommendation.fingerprints import TABLES
from marketplace.recommendation.products import Products
from marketplace.recommendation.ranking import NearestPhotos, Restriction

log = logging.getLogger(__name__)

URL, API_KEY = "MARKETPLACE_QDRANT_URL", "MARKETPLACE_QDRANT_API_KEY"  # environment variables
ALIAS = "marketplace"
SIMILAR, IDENTITY = "similar", "identity"  # the vectors of a point
PRODUCT_ID = "product_id"  # in a point's payload, with the columns that filters compare
CONVERT = {"choice": str, "amount": float, "flag": bool}  # a value of a column for JSON
BOUNDS = {"is": ("gte", "lte"), "at least": ("gte",), "at most": ("lte",)}  # of an amount
POINTS_AT_ONCE, IDS_AT_ONCE = 256, 10_000
SECONDS = 60


def collection_of(fingerprints: dict[str, str]) -> str:
    """Return the name of the collection for the tables of a run and the columns that filters compare."""
    content = [*(fingerprints[name] for name in TABLES), *COLUMNS]
    return f"{ALIAS}-{hashlib.sha256(' '.join(content).encode()).hexdigest()[:16]}"


def connect(url: str) -> Any:
    """A client of the Qdrant at a URL, or of a folder.

    Raises MarketplaceError if the client is not installed, nothing answers, or its version does not go with the client.
    """
    try:
        from qdrant_client import QdrantClient
        from qdrant_client.common.version_check import is_compatible
    except ImportError:
        raise MarketplaceError(
            "Qdrant's client is not installed: `pip install --no-deps -r requirements-all.lock`, or unset "
            "$MARKETPLACE_QDRANT_URL."
        ) from None
    if "://" not in url:
        return _local(url)
    with _answering(url):
        client = QdrantClient(url, api_key=os.environ.get(API_KEY), timeout=SECONDS, check_compatibility=False)
        found = client.info().version
    own = version("qdrant-client")
    if not is_compatible(own, found):
        raise MarketplaceError(
            f"the Qdrant at {url} is version {found}, which the client {own} does not go with: run the server's "
            "release of the same number, or one beside it."
        )
    return client


def _local(folder: str) -> Any:
    from qdrant_client import QdrantClient

    try:
        return QdrantClient(path=folder)
    except RuntimeError:  # it locks the folder
        raise MarketplaceError(
            f"another program works on the Qdrant folder {folder}: end it first, or run a Qdrant server."
        ) from None


@contextmanager
def _answering(url: str) -> Iterator[None]:
    """Say in a sentence that a Qdrant does not answer, or refuses."""
    from qdrant_client.http.exceptions import ApiException

    try:
        yield
    except (ApiException, OSError, ValueError) as error:
        raise UnavailableError(
            f"the Qdrant at {url} does not answer as it should ({first_line(error)}): is it running, are the address "
            f"and ${API_KEY} right, and has `marketplace export qdrant` filled it?"
        ) from None


def export(client: Any, url: str, catalogue: Catalogue, words: float, collection: str) -> None:
    """Bring a collection in line with a catalogue, then have the alias name it.

    Points that are there already stay, so an export that was interrupted goes on where it ended; those of photos that
    the catalogue no longer has are deleted. Until the alias moves, questions are answered from the collection before.
    """
    from qdrant_client import models

    ids = points_of(catalogue.products)
    vectors = {SIMILAR: catalogue.similar(words), IDENTITY: catalogue.identity}
    with _answering(url):
        if not client.collection_exists(collection):
            _create(client, collection, {name: values.shape[1] for name, values in vectors.items()})
        there = set(_ids(client, collection))
        gone: list[Any] = sorted(there - set(ids))
        for start in range(0, len(gone), IDS_AT_ONCE):
            selected = models.PointIdsList(points=gone[start : start + IDS_AT_ONCE])
            client.delete(collection, points_selector=selected, wait=True)
        new = [row for row, name in enumerate(ids) if name not in there]
        log.info("%s: %s photos are new, %s are gone", collection, f"{len(new):,}", f"{len(gone):,}")
        payloads = _payloads(catalogue.products)
        with progress_bar(total=len(new), description="sending vectors", unit="photo") as progress:
            for start in range(0, len(new), POINTS_AT_ONCE):
                rows = new[start : start + POINTS_AT_ONCE]
                points = [
                    models.PointStruct(
                        id=ids[row],
                        vector={name: values[row].tolist() for name, values in vectors.items()},
                        payload=payloads[catalogue.products.product_of_row[row]],
                    )
                    for row in rows
                ]
                client.upsert(collection, points=points, wait=True)
                progress.update(len(rows))
        _name(client, collection)


def _create(client: Any, collection: str, dimensions: dict[str, int]) -> None:
    from qdrant_client import models

    sizes = {
        name: models.VectorParams(size=size, distance=models.Distance.DOT, on_disk=True)
        for name, size in dimensions.items()
    }
    client.create_collection(collection, vectors_config=sizes)
    schemas = {
        "choice": models.PayloadSchemaType.KEYWORD,
        "amount": models.PayloadSchemaType.FLOAT,
        "flag": models.PayloadSchemaType.BOOL,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a folder needs no indexes, and says so
        client.create_payload_index(collection, PRODUCT_ID, field_schema=models.PayloadSchemaType.KEYWORD)
        for column, kind in COLUMNS.items():
            client.create_payload_index(collection, column, field_schema=schemas[kind])


def _ids(client: Any, collection: str) -> Iterator[str]:
    """The ids of all points."""
    offset = None
    while True:
        points, offset = client.scroll(
            collection, limit=IDS_AT_ONCE, offset=offset, with_payload=False, with_vectors=False
        )
        yield from (str(point.id) for point in points)
        if offset is None:
            return


def _payloads(products: Products) -> list[dict[str, Any]]:
    """Return what is stored with the points of each product: its id, and the columns that filters compare."""
    columns = {PRODUCT_ID: products.table[PRODUCT_ID].tolist()}
    for column, kind in COLUMNS.items():
        convert = CONVERT[kind]
        columns[column] = [None if value is None else convert(value) for value in products.table[column]]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _name(client: Any, collection: str) -> None:
    """Have the alias name a collection, in one step."""
    from qdrant_client import models

    before = answering_collection(client)
    if before == collection:
        return
    create = models.CreateAlias(collection_name=collection, alias_name=ALIAS)
    changes: list[Any] = [models.CreateAliasOperation(create_alias=create)]
    if before:
        changes.insert(0, models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=ALIAS)))
        log.info("the collection %s is no longer used: delete it once you do not want it back", before)
    client.update_collection_aliases(change_aliases_operations=changes)


def answering_collection(client: Any) -> str | None:
    """The collection that the alias names, or None."""
    return {alias.alias_name: alias.collection_name for alias in client.get_aliases().aliases}.get(ALIAS)


def point_id(image_id: str) -> str:
    """The id of a photo's point: Qdrant takes UUIDs."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, image_id))


def points_of(products: Products) -> list[str]:
    """The ids of the points of all photos, in the order of the training data."""
    return [point_id(image_id) for image_id in products.image_ids.tolist()]


class QdrantSearch:
    """Searches one of the vectors of a collection; see ranking.Search."""

    def __init__(self, client: Any, url: str, vectors: str, products: Products, points: list[str]) -> None:
        self._client, self._url, self._vectors, self._products = client, url, vectors, products
        self._points, self._row_of_point = points, {point: row for row, point in enumerate(points)}

    def nearest(self, vectors: np.ndarray, restriction: Restriction, depth: int) -> NearestPhotos:
        """See Search. What the database no longer has is not found."""
        from qdrant_client import models

        product_ids = self._products.table["product_id"]
        query_filter = _query_filter(restriction.filters, [product_ids.iat[number] for number in restriction.excluded])
        requests = [
            models.QueryRequest(query=vector.tolist(), using=self._vectors, filter=query_filter, limit=depth)
            for vector in vectors
        ]
        with _answering(self._url):
            answers = self._client.query_batch_points(ALIAS, requests)
        scores = np.full((len(vectors), depth), -np.inf, np.float32)
        rows = np.full((len(vectors), depth), -1, np.int64)
        for place, answer in enumerate(answers):
            known = [
                (self._row_of_point[point.id], point.score) for point in answer.points if point.id in self._row_of_point
            ]
            if known:
                rows[place, : len(known)], scores[place, : len(known)] = zip(*known, strict=True)
        return NearestPhotos(scores=scores, rows=rows, complete=all(len(answer.points) < depth for answer in answers))

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """See Search."""
        points = [self._points[row] for row in rows.tolist()]
        with _answering(self._url):
            found = self._client.retrieve(ALIAS, ids=points, with_vectors=[self._vectors], with_payload=False)
        by_id = {point.id: point.vector[self._vectors] for point in found}
        return np.array([by_id[point] for point in points if point in by_id], dtype=np.float32)


def _query_filter(filters: Filters, without: Sequence[str]) -> Any:
    """Express filters in Qdrant's terms, and leave out the photos of the products `without`."""
    from qdrant_client import models

    must = [_field_condition(condition, value) for condition, value in filters.conditions()]
    must_not: list[Any] = [
        models.FieldCondition(key=PRODUCT_ID, match=models.MatchValue(value=product_id)) for product_id in without
    ]
    return models.Filter(must=must, must_not=must_not)


def _field_condition(condition: Condition, value: Any) -> Any:
    from qdrant_client import models

    if COLUMNS[condition.column] == "amount":
        limits = dict.fromkeys(BOUNDS[condition.operator], value)
        return models.FieldCondition(key=condition.column, range=models.Range(**limits))
    return models.FieldCondition(key=condition.column, match=models.MatchValue(value=value))


def searches(url: str, products: Products, fingerprints: dict[str, str]) -> tuple[QdrantSearch, QdrantSearch]:
    """The searches for similar products and for the same product, if the database has the vectors of this run.

    Raises MarketplaceError if it has others, or none.
    """
    client, wanted = connect(url), collection_of(fingerprints)
    with _answering(url):
        found = answering_collection(client)
    if found != wanted:
        has = f"answers from {found}, which is of another run" if found else "has no vectors"
        raise MarketplaceError(
            f"the Qdrant at {url} {has}: run `marketplace export qdrant {url}`, or unset ${URL} to answer from the "
            "indexes."
        )
    points = points_of(products)
    return QdrantSearch(client, url, SIMILAR, products, points), QdrantSearch(client, url, IDENTITY, products, points)


def url_from_environment() -> str | None:
    """The Qdrant to answer from, or None: from the index."""
    return os.environ.get(URL, "").strip() or None
