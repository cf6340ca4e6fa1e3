"""A store that speaks as much S3 as a fetch needs, and lies as a test wants."""

import contextlib
import hashlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass
class Answer:
    """What the store sends: the parts of a body, which may be endless, behind headers of its own choice."""

    parts: Iterable[bytes]
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200


def plain_answer(content: bytes, **headers: str) -> Answer:
    """Make an honest answer, with headers of one's own in place of the true ones."""
    etag = f'"{hashlib.md5(content).hexdigest()}"'
    true_headers = {"ETag": etag, "Content-Length": str(len(content))}
    return Answer(parts=[content], headers={**true_headers, **headers})


class LyingStore:
    """A bucket in memory. Override `answer` and `page` to lie."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def answer(self, key: str) -> Answer:
        """Answer a request for an object."""
        if key not in self.files:
            return Answer(parts=[b"<Error><Code>NoSuchKey</Code></Error>"], status=404)
        return plain_answer(self.files[key])

    def page(self, prefix: str, token: str | None) -> Answer:
        """Answer a request for a page of a listing."""
        entries = {key: content for key, content in self.files.items() if key.startswith(prefix)}
        return plain_answer(listing_page("".join(listing_entry(key, entries[key]) for key in entries)))


def listing_entry(key: str, content: bytes) -> str:
    """Write an entry of a listing."""
    etag = f'"{hashlib.md5(content).hexdigest()}"'
    return f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size><ETag>{etag}</ETag></Contents>"


def listing_page(entries: str, next_token: str | None = None) -> bytes:
    """Write a page of a listing, with a token for the next one."""
    more = f"<NextContinuationToken>{next_token}</NextContinuationToken>" if next_token else ""
    is_truncated = str(next_token is not None).lower()
    return (
        f'<?xml version="1.0"?><ListBucketResult xmlns="{NAMESPACE}">'
        f"<IsTruncated>{is_truncated}</IsTruncated>{more}{entries}</ListBucketResult>"
    ).encode()


@contextlib.contextmanager
def serve(store: LyingStore) -> Iterator[str]:
    """Serve a store, and yield its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = parse_qs(url.query)
            if "list-type" in query:
                self.send(store.page(query["prefix"][0], query.get("continuation-token", [None])[0]))
            else:
                self.send(store.answer(unquote(url.path).split("/", 2)[2]))

        def send(self, answer: Answer) -> None:
            with contextlib.suppress(OSError):
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in answer.headers:
                    self.send_header("Connection", "close")
                    self.close_connection = True
                self.end_headers()
                for part in answer.parts:
                    self.wfile.write(part)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
