"""A Qdrant collection in place of the indexes: the database holds the vectors, filters them and compares them.

A point is a photo: its identity and kind vectors, its product's id and the columns that filters compare. The point of
a product's first photo also has the vector of the product from the index of similar products. A collection
belongs to the tables of one run; the alias ALIAS names the collection that answers. Qdrant's client also works on a
folder, without a server, for trials and tests: fast enough for a few thousand photos.
"""

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from marketplace.common.errors import MarketplaceError, UnavailableError, first_line
from marketplace.recommendation.filters import COLUMNS, Condition, Filters
from marketplace.recommendation.fingerprints import TABLES
from marketplace.recommendation.products import Products
from marketplace.recommendation.ranking import Nearest, Restriction
from marketplace.serving.matching import VectorStore

URL_VARIABLE = "MARKETPLACE_QDRANT_URL"
API_KEY_VARIABLE = "MARKETPLACE_QDRANT_API_KEY"
ALIAS = "marketplace"
SIMILAR = "similar"  # a vector of a product's first point, from the index of the same name
IDENTITY = "identity"  # a vector of each point, from the index of the same name
KIND = "kind"  # likewise, from the table of vectors; it is read, but not searched
PRODUCT_ID = "product_id"  # in the payload of a point, next to the columns that filters compare
BOUNDS = {"is": ("gte", "lte"), "at least": ("gte",), "at most": ("lte",)}  # of an amount, by the filter's operator
TIMEOUT_SECONDS = 60


def collection_name(fingerprints: dict[str, str]) -> str:
    """Return the name of the collection for a run's tables and the columns that filters compare."""
    content = [*(fingerprints[name] for name in TABLES), *COLUMNS]
    return f"{ALIAS}-{hashlib.sha256(' '.join(content).encode()).hexdigest()[:16]}"


def connect(url: str) -> Any:
    """Return a client of the Qdrant server at a URL, or of a folder.

    Raises MarketplaceError if the client is not installed, does not work with the server's version, or gets no answer.
    """
    try:
        from qdrant_client import QdrantClient
        from qdrant_client.common.version_check import is_compatible
    except ImportError:
        raise MarketplaceError(
            "Qdrant's client is not installed: `pip install --no-deps -r requirements-all.lock`, or unset "
            f"${URL_VARIABLE}."
        ) from None
    if "://" not in url:
        return _open_folder(url)
    with report_failures(url):
        api_key = os.environ.get(API_KEY_VARIABLE)
        client = QdrantClient(url, api_key=api_key, timeout=TIMEOUT_SECONDS, check_compatibility=False)
        server_version = client.info().version
    client_version = version("qdrant-client")
    if not is_compatible(client_version, server_version):
        raise MarketplaceError(
            f"the Qdrant at {url} has version {server_version}, which does not work with the client's version "
            f"{client_version}: run a server of the same minor version, or of the one before or after it."
        )
    return client


def _open_folder(folder: str) -> Any:
    from qdrant_client import QdrantClient

    try:
        return QdrantClient(path=folder)
    except RuntimeError:  # it locks the folder
        raise MarketplaceError(
            f"another program is using the Qdrant folder {folder}: stop it first, or run a Qdrant server."
        ) from None


@contextmanager
def report_failures(url: str) -> Iterator[None]:
    """Raise UnavailableError, in a sentence, if a Qdrant does not answer or rejects a request."""
    from qdrant_client.http.exceptions import ApiException

    try:
        yield
    except (ApiException, OSError, ValueError) as error:
        raise UnavailableError(
            f"the Qdrant at {url} does not answer as expected ({first_line(error)}). Check that it is running, that "
            f"its address and ${API_KEY_VARIABLE} are correct, and that `marketplace export qdrant` has filled it.",
            public="the database does not answer as expected.",
        ) from None


def aliased_collection(client: Any) -> str | None:
    """Return the collection that the alias names; None if there is no alias."""
    collections = {alias.alias_name: alias.collection_name for alias in client.get_aliases().aliases}
    return collections.get(ALIAS)


def point_id(image_id: str) -> str:
    """Return the id of a photo's point: a UUID, as Qdrant requires."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, image_id))


def point_ids(products: Products) -> list[str]:
    """Return the ids of the points of all photos, in the order of the training data."""
    return [point_id(image_id) for image_id in products.image_ids.tolist()]


class QdrantSearch:
    """Searches one of the vectors of a collection; see ranking.Search.

    A running server names its collection: the alias may already name the one of another run. `points` are the ids of
    the points that have this vector; `owners` `(n,)` are the numbers of their products.
    """

    def __init__(
        self,
        client: Any,
        url: str,
        vector_name: str,
        points: list[str],
        owners: np.ndarray,
        collection: str = ALIAS,
    ) -> None:
        self._client = client
        self._url = url
        self._collection = collection
        self._vector_name = vector_name
        self._points = points
        self._owner_of_point = dict(zip(points, owners.tolist(), strict=True))

    def nearest(self, vector: np.ndarray, restriction: Restriction, depth: int) -> Nearest:
        """See Search.

        Points that the database no longer has are not returned. It filters; other products that may not be listed
        are left out here.
        """
        query_filter = _query_filter(restriction.filters)
        with report_failures(self._url):
            answer = self._client.query_points(
                self._collection, query=vector.tolist(), using=self._vector_name, query_filter=query_filter, limit=depth
            )
        known_points = [
            point
            for point in answer.points
            if point.id in self._owner_of_point and restriction.passing[self._owner_of_point[point.id]]
        ]
        return Nearest(
            scores=np.array([point.score for point in known_points], dtype=np.float32),
            numbers=np.array([self._owner_of_point[point.id] for point in known_points], dtype=np.int64),
            complete=len(answer.points) < depth,
        )

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """See Search."""
        points = [self._points[row] for row in rows.tolist()]
        with report_failures(self._url):
            records = self._client.retrieve(
                self._collection, ids=points, with_vectors=[self._vector_name], with_payload=False
            )
        vector_of = {record.id: record.vector[self._vector_name] for record in records}
        vectors = [vector_of[point] for point in points if point in vector_of]
        return np.array(vectors, dtype=np.float32) if vectors else np.empty((0, 1), np.float32)


def _query_filter(filters: Filters) -> Any:
    """Express filters in Qdrant's terms."""
    from qdrant_client import models

    return models.Filter(must=[_field_condition(condition, value) for condition, value in filters.conditions()])


def _field_condition(condition: Condition, value: Any) -> Any:
    from qdrant_client import models

    if COLUMNS[condition.column] == "amount":
        limits = dict.fromkeys(BOUNDS[condition.operator], value)
        return models.FieldCondition(key=condition.column, range=models.Range(**limits))
    return models.FieldCondition(key=condition.column, match=models.MatchValue(value=value))


def open_vectors(url: str, products: Products, fingerprints: dict[str, str]) -> VectorStore:
    """Open the vectors of a catalogue.

    Raises MarketplaceError if the database has no vectors, or the vectors of another run.
    """
    client = connect(url)
    with report_failures(url):
        collection = aliased_collection(client)
    if collection != collection_name(fingerprints):
        state = f"answers from {collection}, which is from another run" if collection else "has no vectors"
        raise MarketplaceError(
            f"the Qdrant at {url} {state}: run `marketplace export qdrant {url}`, or unset ${URL_VARIABLE} to use the "
            "indexes."
        )
    points = point_ids(products)
    first_points = [points[row] for row in products.photos[products.starts].tolist()]
    owners = products.product_of_row
    numbers = np.arange(len(first_points))
    return VectorStore(
        similar=QdrantSearch(client, url, SIMILAR, first_points, numbers, collection),
        identity=QdrantSearch(client, url, IDENTITY, points, owners, collection),
        kinds_of=QdrantSearch(client, url, KIND, points, owners, collection).vectors_of,
        check=partial(_check_collection, client, url, collection),
    )


def _check_collection(client: Any, url: str, collection: str) -> None:
    """Raise UnavailableError if a database does not answer or no longer has a collection."""
    with report_failures(url):
        client.get_collection(collection)


def url_from_environment() -> str | None:
    """Return the Qdrant to answer from; None to answer from the indexes."""
    return os.environ.get(URL_VARIABLE, "").strip() or None
