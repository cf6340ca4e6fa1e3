"""Many photos read at once, in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from marketplace.compute.interrupts import deferred_interrupts
from marketplace.sources.bounds import MAX_AHEAD_BYTES
from marketplace.sources.photo_store import Stamp

Photo = tuple[str, bytes | None]  # name and content; no content if the photo is not readable


def read_ahead(read: Callable[[str, Stamp], Photo | None], stamps: dict[str, Stamp], n_threads: int) -> Iterator[Photo]:
    """Yield the photos that `read` returns, in order, without None; threads read the next ones in the meantime.

    The photos that are read or wait have MAX_AHEAD_BYTES together, or there is only one.
    """
    waiting = deque(stamps.items())
    pending: deque[tuple[Stamp, Future[Photo | None]]] = deque()
    n_bytes = 0
    with deferred_interrupts() as raise_pending, ThreadPoolExecutor(n_threads) as pool:
        try:
            while waiting or pending:
                while waiting and len(pending) < 4 * n_threads:
                    name, stamp = waiting[0]
                    if pending and n_bytes + stamp.size > MAX_AHEAD_BYTES:
                        break
                    waiting.popleft()
                    pending.append((stamp, pool.submit(read, name, stamp)))
                    n_bytes += stamp.size
                stamp, future = pending.popleft()
                photo = future.result()
                n_bytes -= stamp.size
                raise_pending()
                if photo is not None:
                    yield photo
        finally:
            pool.shutdown(cancel_futures=True)
