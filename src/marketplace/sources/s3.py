"""A dump under a prefix of an S3 bucket, and the private key of another in one.

botocore finds the credentials as every AWS tool does: environment, profile, instance role.
"""

import contextlib
import itertools
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import botocore.session
import paramiko
from botocore import exceptions
from botocore.config import Config

from marketplace.common.errors import MarketplaceError
from marketplace.common.params import Section
from marketplace.compute.interrupts import deferred_interrupts
from marketplace.sources.mirror import RemoteInterrupted
from marketplace.sources.photo_store import Stamp
from marketplace.sources.private_keys import PASSPHRASE_VARIABLE, parse_private_key

N_CONNECTIONS = 32
MAX_KEY_BYTES = 64 * 1024
CLIENT_CONFIG = Config(
    connect_timeout=10,
    read_timeout=30,
    retries={"mode": "standard", "max_attempts": 3},
    max_pool_connections=N_CONNECTIONS,
    # Stores that speak S3 but are not AWS stumble over the checksums that newer botocores add by themselves.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
UNREADABLE_CODES = {"AccessDenied", "403", "Forbidden", "InvalidObjectState"}  # the last: archived, as in Glacier
MISSING_CODES = {"404", "NoSuchKey", "NoSuchBucket", "NotFound"}
CHANGED_CODES = {"412", "PreconditionFailed"}
FORBIDDEN_CODES = {"AccessDenied", "403", "Forbidden", "AllAccessDisabled"}
CREDENTIAL_CODES = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}


class S3Settings(Section):
    """The dump under a prefix of an S3 bucket."""

    url: str | None
    endpoint_url: str | None


class Location(NamedTuple):
    """An object, or a prefix of objects."""

    bucket: str
    key: str


class S3Dump:
    """The dump under `fetch.s3.url`; a Remote (see `marketplace.sources.mirror`)."""

    def __init__(self, settings: S3Settings) -> None:
        if settings.url is None:
            raise MarketplaceError("fetch.s3.url is not set: fetch.source=s3 needs it, such as s3://bucket/dump.")
        self._url = settings.url.rstrip("/")
        self._location = _parse_url(self._url, "fetch.s3.url")
        self._endpoint_url = settings.endpoint_url
        self._client = _make_client(settings.endpoint_url)

    @property
    def identity(self) -> str:
        """A text that is different for every dump."""
        return f"{self._endpoint_url or ''} {self._url}"

    def table(self, name: str) -> bytes:
        """See Remote."""
        with _explain_errors(f"{self._url}/{name}"):
            return self._client.get_object(Bucket=self._location.bucket, Key=self._key(name))["Body"].read()

    def list_photos(self) -> dict[str, Stamp]:
        """See Remote."""
        prefix = self._key("images/")
        photos: dict[str, Stamp] = {}
        with _explain_errors(f"{self._url}/images/"):
            paginator = self._client.get_paginator("list_objects_v2")
            for page in paginator.paginate(Bucket=self._location.bucket, Prefix=prefix):
                for entry in page.get("Contents", []):
                    name = entry["Key"].removeprefix(prefix)
                    photos[name] = Stamp(size=entry["Size"], version=entry["ETag"])
        photos.pop("", None)  # the "folder" itself, which some tools make
        return photos

    def read_photos(self, stamps: dict[str, Stamp]) -> Iterator[tuple[str, bytes | None]]:
        """See Remote."""
        names = iter(stamps)
        pending: deque[Future[tuple[str, bytes | None] | None]] = deque()
        with deferred_interrupts() as raise_pending, ThreadPoolExecutor(N_CONNECTIONS) as pool:
            try:
                while True:
                    for name in itertools.islice(names, 4 * N_CONNECTIONS - len(pending)):
                        pending.append(pool.submit(self._read, name, stamps[name]))
                    if not pending:
                        return
                    photo = pending.popleft().result()
                    raise_pending()
                    if photo is not None:
                        yield photo
            finally:
                pool.shutdown(cancel_futures=True)

    def checksums(self, names: list[str]) -> dict[str, str]:
        """See Remote. S3 offers none; read_photos asks for each photo by its ETag, which no other content has."""
        return {}

    def _read(self, name: str, stamp: Stamp) -> tuple[str, bytes | None] | None:
        """Return a photo as read_photos yields it, or None if it vanished or changed since it was listed."""
        key = self._key(f"images/{name}")
        with _explain_errors(f"{self._url}/images/{name}"):
            try:
                answer = self._client.get_object(Bucket=self._location.bucket, Key=key, IfMatch=stamp.version)
                return name, answer["Body"].read()
            except exceptions.ClientError as error:
                code = _error_code(error)
                if code in MISSING_CODES | CHANGED_CODES:
                    return None
                if code in UNREADABLE_CODES:
                    return name, None
                raise

    def _key(self, name: str) -> str:
        return f"{self._location.key}/{name}" if self._location.key else name


def read_key(url: str) -> paramiko.PKey:
    """Read the private key at `s3://bucket/key`. It stays in memory: no file, log or error gets it."""
    location = _parse_url(url, "fetch.ec2.key")
    try:
        with _explain_errors(url):
            answer = _make_client(None).get_object(Bucket=location.bucket, Key=location.key)
            content = answer["Body"].read(MAX_KEY_BYTES)
    except RemoteInterrupted as error:
        raise MarketplaceError(f"{error}.") from None
    text = content.decode("ascii", errors="replace")
    return parse_private_key(text, os.environ.get(PASSPHRASE_VARIABLE), url)


def _parse_url(url: str, setting: str) -> Location:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not bucket:
        raise MarketplaceError(f"{setting} = {url!r} is not an S3 address: it must look like s3://bucket/path.")
    return Location(bucket=bucket, key=key)


def _make_client(endpoint_url: str | None) -> Any:
    with _explain_errors("S3"):
        session = botocore.session.get_session()
        region = session.get_config_variable("region") or "us-east-1"  # stores other than AWS have none
        return session.create_client("s3", region_name=region, endpoint_url=endpoint_url, config=CLIENT_CONFIG)


@contextlib.contextmanager
def _explain_errors(url: str) -> Iterator[None]:
    """Turn botocore's errors into MarketplaceError, or into RemoteInterrupted if trying again may help."""
    try:
        yield
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError):
        raise MarketplaceError(
            f"no AWS credentials for {url}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
        ) from None
    except exceptions.ProfileNotFound as error:
        raise MarketplaceError(f"{error}: check AWS_PROFILE.") from None
    except exceptions.ClientError as error:
        raise _explain_client_error(error, url) from None
    except (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.ResponseStreamingError) as error:
        raise RemoteInterrupted(f"the connection to S3 for {url} broke ({error})") from None
    except exceptions.IncompleteReadError:
        raise RemoteInterrupted(f"the answer to {url} broke off") from None
    except (exceptions.BotoCoreError, ValueError) as error:  # for instance an invalid endpoint or bucket name
        raise MarketplaceError(f"cannot request {url} from S3: {error}.") from None


def _explain_client_error(error: exceptions.ClientError, url: str) -> Exception:
    code = _error_code(error)
    if code == "NoSuchBucket":
        return MarketplaceError(
            f"there is no bucket for {url}: check the name, and the endpoint that AWS_ENDPOINT_URL names."
        )
    if code in MISSING_CODES:
        return MarketplaceError(f"there is no {url}.")
    if code in FORBIDDEN_CODES:
        return MarketplaceError(f"the current AWS credentials do not allow reading {url} ({code}).")
    if code in CREDENTIAL_CODES:
        return MarketplaceError(f"S3 rejects the current AWS credentials ({code}): renew or correct them.")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status >= 500 or code == "SlowDown":
        return RemoteInterrupted(f"S3 failed on {url} ({code})")
    return MarketplaceError(f"S3 refused {url}: {code}.")


def _error_code(error: exceptions.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))
