"""How glibc handles freed memory. https://man7.org/linux/man-pages/man3/mallopt.3.html."""

import ctypes
import sys

# Options of mallopt
TRIM_THRESHOLD = -1
MMAP_THRESHOLD = -3
ARENA_MAX = -8


def keep_freed_memory() -> None:
    """Have glibc keep freed memory: otherwise the OS takes it back and zeroes it for the next batch's layers.

    That took a tenth to a quarter of an epoch.
    """
    _set_malloc({TRIM_THRESHOLD: 2**30, MMAP_THRESHOLD: 2**30})


def return_freed_memory() -> None:
    """Have glibc return freed memory: otherwise each thread of a server keeps the memory of its largest photo."""
    _set_malloc({MMAP_THRESHOLD: 2**20, ARENA_MAX: 2})


def _set_malloc(options: dict[int, int]) -> None:
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, value in options.items():
            libc.mallopt(option, value)
