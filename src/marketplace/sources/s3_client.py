"""botocore's client for S3 with bounded memory: pages and error messages end, and a trickle is not waited for."""

import http.client
import io
import time
from typing import Any

import botocore.awsrequest
import botocore.session
from botocore.config import Config
from botocore.response import StreamingBody

from marketplace.common.errors import MarketplaceError
from marketplace.sources.bounds import Pace, format_size, read_up_to

N_CONNECTIONS = 32
STALL_SECONDS = 30.0  # a store that is silent for this long hangs
MAX_PAGE_BYTES = 2**24  # of a listing: a thousand of the longest keys take a quarter


def make_client(endpoint_url: str | None) -> Any:
    """Return a client that finds the credentials as every AWS tool does: environment, profile, instance role."""
    session = botocore.session.get_session()
    region = session.get_config_variable("region") or "us-east-1"  # stores other than AWS have none
    config = Config(
        connect_timeout=10,
        read_timeout=STALL_SECONDS,
        retries={"mode": "standard", "max_attempts": 3},
        max_pool_connections=N_CONNECTIONS,
        # Stores that speak S3 but are not AWS stumble over the checksums that newer botocores add by themselves.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    client = session.create_client("s3", region_name=region, endpoint_url=endpoint_url, config=config)
    transport = client._endpoint.http_session
    transport._pool_classes_by_scheme.update(http=_HttpPool, https=_HttpsPool)

    def send(request: Any, **_: object) -> Any:
        """Send a request; read the answer, unless it is an object's, which the caller reads."""
        is_object = request.stream_output
        request.stream_output = True  # else botocore would read it here, whatever its length
        answer = transport.send(request)
        if not is_object or answer.status_code >= 300:
            answer._content = _read_page(answer)
        return answer

    client.meta.events.register("before-send.s3", send)
    return client


def _read_page(answer: Any) -> bytes:
    content = read_up_to(StreamingBody(answer.raw, None).read, MAX_PAGE_BYTES)
    if len(content) > MAX_PAGE_BYTES:
        raise MarketplaceError(
            f"S3 answered with more than {format_size(MAX_PAGE_BYTES)} where a page of a listing has a tenth: check "
            "fetch.s3.endpoint_url."
        )
    return content


class _PacedFile(io.RawIOBase):
    """The bytes of an answer as they arrive."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._pace = Pace(STALL_SECONDS)

    def readable(self) -> bool:
        """Return True, as io.BufferedReader wants."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the bytes that have arrived. Raises TimeoutError if it is a trickle."""
        begin = time.monotonic()
        n_bytes = int(self._file.readinto(buffer))
        self._pace.note(n_bytes, time.monotonic() - begin)
        return n_bytes

    def close(self) -> None:
        """Close the connection's file."""
        self._file.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp: Any = io.BufferedReader(_PacedFile(self.fp.detach()))


class _HttpConnection(botocore.awsrequest.AWSHTTPConnection):  # type: ignore[misc]  # botocore is not typed
    response_class = _Answer


class _HttpsConnection(botocore.awsrequest.AWSHTTPSConnection):  # type: ignore[misc]
    response_class = _Answer


class _HttpPool(botocore.awsrequest.AWSHTTPConnectionPool):  # type: ignore[misc]
    ConnectionCls = _HttpConnection


class _HttpsPool(botocore.awsrequest.AWSHTTPSConnectionPool):  # type: ignore[misc]
    ConnectionCls = _HttpsConnection
