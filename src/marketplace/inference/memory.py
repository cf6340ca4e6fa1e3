"""What glibc does with memory that is freed. https://man7.org/linux/man-pages/man3/mallopt.3.html."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8


def keep_freed_memory() -> None:
    """Have glibc keep freed memory: otherwise the system takes it back and zeroes it for the next batch's layers.

    That took a tenth to a quarter of an epoch.
    """
    _set_malloc({TRIM_THRESHOLD: 2**30, MMAP_THRESHOLD: 2**30})


def return_freed_memory() -> None:
    """Have glibc give freed memory back: otherwise each of a server's threads keeps what its largest photo took."""
    _set_malloc({MMAP_THRESHOLD: 2**20, ARENA_MAX: 2})


def _set_malloc(options: dict[int, int]) -> None:
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, value in options.items():
            libc.mallopt(option, value)
