"""The processor, as far as it determines how arithmetic rounds."""

import functools
import os
import platform
import re
from pathlib import Path

WIDEST = ("avx512f", "avx2", "avx")


def vendor() -> str:
    """Who made the processor, as Linux names it, such as "AuthenticAMD"; empty elsewhere."""
    found = re.search(r"vendor_id\s*: (\S+)", _told())
    return found[1] if found else ""


@functools.cache
def processor() -> str:
    """Architecture, maker, widest vector instructions and number of cores, such as "x86_64 AuthenticAMD avx2 2"."""
    flags = set(_told().split())
    widest = next((name for name in WIDEST if name in flags), "")
    return " ".join(filter(None, [platform.machine(), vendor(), widest, str(os.cpu_count())]))


@functools.cache
def _told() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not on Linux
        return platform.processor()
