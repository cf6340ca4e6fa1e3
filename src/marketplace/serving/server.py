"""The server behind `marketplace serve`."""

import logging
import os
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from threadpoolctl import threadpool_limits

from marketplace.common.errors import MarketplaceError, first_line
from marketplace.inference.memory import return_freed_memory
from marketplace.serving.application import create_application
from marketplace.serving.comparison import RevisionComparison
from marketplace.serving.hosts import is_local, known_hosts
from marketplace.serving.own_loop import OwnLoop
from marketplace.serving.recommender import Recommender

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 5
MAX_CONCURRENCY = 200  # connections or requests; further requests get 503
MAX_HEADER_BYTES = 2**16
SWITCH_SECONDS = 0.001  # after which a thread that computes lets another one run, so that /health need not wait


def serve(
    root: Path,
    host: str,
    port: int,
    compare: str | None = None,
    allowed_hosts: Sequence[str] = (),
    prefix: str = "",
    allowed_origins: Sequence[str] = (),
) -> None:
    """Serve the page and its API over the pipeline in `root` until Ctrl-C.

    `compare` is a revision to show next to the recommendations, `allowed_hosts` are names that the server answers to
    besides its own, `prefix` is the path under which a proxy serves it, and `allowed_origins` are other sites whose
    pages may ask it. Raises MarketplaceError.
    """
    return_freed_memory()
    sys.setswitchinterval(SWITCH_SECONDS)
    with listening_socket(host, port) as listening:  # a port that is taken should not cost seconds of loading
        recommender = Recommender(root)
        recommender.load()
        # A question runs in a thread of its own, so threads inside NumPy's products only slow the image model down.
        threadpool_limits(1)
        comparison = RevisionComparison.read(root, compare) if compare else None
        address = listening.getsockname()[0]
        hosts = known_hosts(host, address, allowed_hosts)
        app = create_application(recommender, hosts, comparison, prefix=prefix, origins=allowed_origins)
        config = uvicorn.Config(
            OwnLoop(app),
            log_level="info",
            http="h11",  # which the limit on headers is for
            limit_concurrency=MAX_CONCURRENCY,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        shown_host = f"[{host}]" if ":" in host else host
        log.info("Serving on http://%s:%d%s (API: /openapi.json). Press Ctrl-C to stop.", shown_host, port, prefix)
        if not is_local(address):
            log.warning("Anyone who can reach %s can use it: there is no login.", host)
        # The catalogue can be browsed meanwhile; questions about words or a photo wait for about a second.
        loading = threading.Thread(target=_load_models, args=[recommender])
        loading.start()
        try:
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            loading.join()  # imports fail in a process that is ending


def listening_socket(host: str, port: int) -> socket.socket:
    """Listen on an address. Raises MarketplaceError if that is impossible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else first_line(error)
        raise MarketplaceError(
            f"cannot listen on {host}, port {port} ({reason}): stop the program that listens there, or choose another "
            "address with --host or another port with --port."
        ) from None
    # Its connections inherit this. Otherwise the body of an answer waits until the client has confirmed the headers,
    # for 40 ms; asyncio sets the option only for sockets whose protocol was named when they were made.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _load_models(recommender: Recommender) -> None:
    try:
        recommender.load_models()
    except MarketplaceError as error:  # questions that need a model get the same answer
        log.error("%s", error)
