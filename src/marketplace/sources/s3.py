"""A dump under a prefix of an S3 bucket, and the private key of another in one.

botocore finds the credentials as every AWS tool does: environment, profile, instance role.
"""

import contextlib
import itertools
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import botocore.session
import paramiko
from botocore import exceptions
from botocore.config import Config

from marketplace.common.errors import MarketplaceError
from marketplace.common.params import Section
from marketplace.compute.interrupts import held_interrupts
from marketplace.sources.mirror import RemoteInterrupted
from marketplace.sources.photo_store import Stamp
from marketplace.sources.ssh import PASSPHRASE, parse_private_key

CONNECTIONS = 32
LARGEST_KEY = 64 * 1024
CONFIG = Config(
    connect_timeout=10,
    read_timeout=30,
    retries={"mode": "standard", "max_attempts": 3},
    max_pool_connections=CONNECTIONS,
    # Stores that speak S3 but are not AWS stumble over the checksums that newer botocores add by themselves.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
REFUSED = {"AccessDenied", "403", "Forbidden", "InvalidObjectState"}  # the last: archived, as in Glacier
MISSING = {"404", "NoSuchKey", "NoSuchBucket", "NotFound"}


class S3Settings(Section):
    """The dump under a prefix of an S3 bucket."""

    url: str | None
    endpoint_url: str | None


class S3Dump:
    """The dump under `fetch.s3.url`; a Remote (see `marketplace.sources.mirror`)."""

    def __init__(self, settings: S3Settings) -> None:
        if settings.url is None:
            raise MarketplaceError("fetch.s3.url is not set: fetch.source=s3 needs it, such as s3://bucket/dump.")
        self._url = settings.url.rstrip("/")
        self._bucket, self._prefix = _parse(self._url, "fetch.s3.url")
        self._endpoint_url = settings.endpoint_url
        self._client = _client(settings.endpoint_url)

    @property
    def identity(self) -> str:
        """A text that is different for every dump."""
        return f"{self._endpoint_url or ''} {self._url}"

    def table(self, name: str) -> bytes:
        """See Remote."""
        with _explained(f"{self._url}/{name}"):
            content: bytes = self._client.get_object(Bucket=self._bucket, Key=self._key(name))["Body"].read()
            return content

    def list_photos(self) -> dict[str, Stamp]:
        """See Remote."""
        prefix = self._key("images/")
        photos: dict[str, Stamp] = {}
        with _explained(f"{self._url}/images/"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            for page in pages:
                for entry in page.get("Contents", []):
                    photos[entry["Key"].removeprefix(prefix)] = Stamp(entry["Size"], entry["ETag"])
        photos.pop("", None)  # the "folder" itself, that some tools make
        return photos

    def read_photos(self, wanted: dict[str, Stamp]) -> Iterator[tuple[str, bytes | None]]:
        """See Remote."""
        names = iter(wanted)
        pending: deque[Future[tuple[str, bytes | None] | None]] = deque()
        with held_interrupts() as let_through, ThreadPoolExecutor(CONNECTIONS) as pool:
            try:
                while True:
                    for name in itertools.islice(names, 4 * CONNECTIONS - len(pending)):
                        pending.append(pool.submit(self._read, name, wanted[name]))
                    if not pending:
                        return
                    answer = pending.popleft().result()
                    let_through()
                    if answer is not None:
                        yield answer
            finally:
                pool.shutdown(cancel_futures=True)

    def checksums(self, names: list[str]) -> dict[str, str]:
        """See Remote. S3 offers none; read_photos asks for each photo by its ETag, which no other content has."""
        return {}

    def _read(self, name: str, stamp: Stamp) -> tuple[str, bytes | None] | None:
        key = self._key(f"images/{name}")
        with _explained(f"{self._url}/images/{name}"):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=key, IfMatch=stamp.version)
                return name, answer["Body"].read()
            except exceptions.ClientError as error:
                if _code(error) in MISSING | {"412", "PreconditionFailed"}:
                    return None  # it vanished or changed since it was listed
                if _code(error) in REFUSED:
                    return name, None
                raise

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name


def read_key(url: str) -> paramiko.PKey:
    """The private key at `s3://bucket/key`. It goes from the answer into memory, and into no file, log or error."""
    bucket, key = _parse(url, "fetch.ec2.key")
    try:
        with _explained(url):
            content = _client(None).get_object(Bucket=bucket, Key=key)["Body"].read(LARGEST_KEY)
    except RemoteInterrupted as error:
        raise MarketplaceError(f"{error}.") from None
    text = content.decode("ascii", errors="replace")
    return parse_private_key(text, os.environ.get(PASSPHRASE), url)


def _parse(url: str, setting: str) -> tuple[str, str]:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not bucket:
        raise MarketplaceError(f"{setting} = {url!r} is not an S3 address: it must look like s3://bucket/path.")
    return bucket, key


def _client(endpoint_url: str | None) -> Any:
    with _explained("S3"):
        session = botocore.session.get_session()
        region = session.get_config_variable("region") or "us-east-1"  # stores other than AWS have none
        return session.create_client("s3", region_name=region, endpoint_url=endpoint_url, config=CONFIG)


@contextlib.contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn botocore's errors into a MarketplaceError in words, or RemoteInterrupted if trying again may help."""
    try:
        yield
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError):
        raise MarketplaceError(
            f"no AWS credentials to read {url} with: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
        ) from None
    except exceptions.ProfileNotFound as error:
        raise MarketplaceError(f"{error}: check AWS_PROFILE.") from None
    except exceptions.ClientError as error:
        raise _in_words(error, url) from None
    except (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.ResponseStreamingError) as error:
        raise RemoteInterrupted(f"the connection to S3 for {url} broke ({error})") from None
    except exceptions.IncompleteReadError:
        raise RemoteInterrupted(f"the answer to {url} broke off") from None
    except (
        exceptions.BotoCoreError,
        ValueError,
    ) as error:  # for instance an invalid endpoint or bucket name
        raise MarketplaceError(f"S3 cannot be asked for {url}: {error}.") from None


def _in_words(error: exceptions.ClientError, url: str) -> Exception:
    code = _code(error)
    if code == "NoSuchBucket":
        return MarketplaceError(
            f"there is no bucket for {url}: check the name, and the endpoint that AWS_ENDPOINT_URL names."
        )
    if code in MISSING:
        return MarketplaceError(f"there is no {url}.")
    if code in ("AccessDenied", "403", "Forbidden", "AllAccessDisabled"):
        return MarketplaceError(f"the AWS credentials in use may not read {url} ({code}).")
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"):
        return MarketplaceError(f"S3 does not accept the AWS credentials in use ({code}): renew or correct them.")
    if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500 or code == "SlowDown":
        return RemoteInterrupted(f"S3 failed on {url} ({code})")
    return MarketplaceError(f"S3 refused {url}: {code}.")


def _code(error: exceptions.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))
