"""A dump under a prefix of an S3 bucket, and the private key of another in one.

botocore finds the credentials as every AWS tool does: environment, profile, instance role.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import paramiko
from botocore import exceptions

from marketplace.common.errors import MarketplaceError
from marketplace.common.params import Section
from marketplace.sources.bounds import read_table, read_up_to
from marketplace.sources.listing import TABLES
from marketplace.sources.mirror import RemoteInterrupted
from marketplace.sources.photo_store import Stamp
from marketplace.sources.private_keys import PASSPHRASE_VARIABLE, parse_private_key
from marketplace.sources.read_ahead import Photo, read_ahead
from marketplace.sources.s3_client import N_CONNECTIONS, make_client

MAX_KEY_BYTES = 64 * 1024
MAX_EMPTY_PAGES = 20  # of a listing, one after another
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
        url = f"{self._url}/{name}"
        with _explain_errors(url):
            answer = self._get(name)
            with contextlib.closing(answer["Body"]) as body:
                content = read_table(body.read, url)
            if not _is_whole(answer, content):
                raise RemoteInterrupted(f"{url} arrived with other bytes than its length and ETag say")
            return content

    def list_tables(self) -> Iterator[tuple[str, Stamp]]:
        """See Remote."""
        for name in TABLES:
            with _explain_errors(f"{self._url}/{name}"):
                answer = self._client.head_object(Bucket=self._location.bucket, Key=self._key(name))
                yield name, Stamp(size=answer.get("ContentLength", 0), version=answer.get("ETag", ""))

    def list_photos(self) -> Iterator[tuple[str, Stamp]]:
        """See Remote."""
        prefix = self._key("images/")
        n_empty = 0
        with _explain_errors(f"{self._url}/images/"):
            paginator = self._client.get_paginator("list_objects_v2")
            for page in paginator.paginate(Bucket=self._location.bucket, Prefix=prefix):
                entries = page.get("Contents", [])
                n_empty = 0 if entries else n_empty + 1
                if n_empty > MAX_EMPTY_PAGES:
                    raise MarketplaceError(f"the listing of {self._url}/images/ has no end: it goes on without photos.")
                for entry in entries:
                    if not {"Key", "Size", "ETag"} <= entry.keys():
                        raise MarketplaceError(f"the listing of {self._url}/images/ lacks a key, a size or an ETag.")
                    name = entry["Key"].removeprefix(prefix)
                    if name and not name.endswith("/"):  # else it is a "folder", which some tools make
                        yield name, Stamp(size=entry["Size"], version=entry["ETag"])

    def read_photos(self, stamps: dict[str, Stamp]) -> Iterator[Photo]:
        """See Remote."""
        return read_ahead(self._read, stamps, N_CONNECTIONS)

    def checksums(self, names: list[str]) -> None:
        """See Remote. S3 computes none; read_photos compares each photo with the length, ETag and checksum it has."""

    def _read(self, name: str, stamp: Stamp) -> Photo | None:
        """Return a photo as read_photos yields it, or None if it vanished, changed or was damaged on the way."""
        with _explain_errors(f"{self._url}/images/{name}"):
            try:
                answer = self._get(f"images/{name}", IfMatch=stamp.version)
                with contextlib.closing(answer["Body"]) as body:
                    content = read_up_to(body.read, stamp.size)
            except exceptions.FlexibleChecksumError:
                return None
            except exceptions.ClientError as error:
                code = _error_code(error)
                if code in MISSING_CODES | CHANGED_CODES:
                    return None
                if code in UNREADABLE_CODES:
                    return name, None
                raise
            is_listed = len(content) == stamp.size and _plain_etag(answer) == stamp.version.strip('"')
            return (name, content) if is_listed and _is_whole(answer, content) else None

    def _get(self, name: str, **conditions: str) -> Any:
        """Request an object; its body is checked if the store knows a checksum."""
        return self._client.get_object(
            Bucket=self._location.bucket, Key=self._key(name), ChecksumMode="ENABLED", **conditions
        )

    def _key(self, name: str) -> str:
        return f"{self._location.key}/{name}" if self._location.key else name


def read_key(url: str) -> paramiko.PKey:
    """Read the private key at `s3://bucket/key`. It stays in memory: no file, log or error gets it."""
    location = _parse_url(url, "fetch.ec2.key")
    try:
        with _explain_errors(url):
            answer = _make_client(None).get_object(Bucket=location.bucket, Key=location.key)
            with contextlib.closing(answer["Body"]) as body:
                content = read_up_to(body.read, MAX_KEY_BYTES)
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
        return make_client(endpoint_url)


def _is_whole(answer: dict[str, Any], content: bytes) -> bool:
    """Return whether an object has the length in its answer, and the MD5 that its ETag is.

    The ETag of an object that was uploaded in parts, or encrypted with a customer's key, is no MD5.
    """
    if answer.get("ContentLength", len(content)) != len(content):
        return False
    etag = _plain_etag(answer)
    is_encrypted = "kms" in answer.get("ServerSideEncryption", "") or "SSECustomerAlgorithm" in answer
    if is_encrypted or not re.fullmatch("[0-9a-f]{32}", etag):
        return True
    return hashlib.md5(content, usedforsecurity=False).hexdigest() == etag


def _plain_etag(answer: dict[str, Any]) -> str:
    return str(answer.get("ETag", "")).strip('"')


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
    except (exceptions.IncompleteReadError, exceptions.FlexibleChecksumError):
        raise RemoteInterrupted(f"the answer to {url} broke off, or has another checksum than it says") from None
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
