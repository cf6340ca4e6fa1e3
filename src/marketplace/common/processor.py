"""The processor, as far as it determines how arithmetic rounds."""

import functools
import os
import platform
import re
from pathlib import Path

WIDEST = ("avx512f", "avx2", "avx")


@functools.cache
def processor() -> str:
    """Architecture, maker, widest vector instructions and number of cores, such as "x86_64 AuthenticAMD avx2 2"."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not on Linux
        told = platform.processor()
    maker = re.search(r"vendor_id\s*: (\S+)", told)
    flags = set(told.split())
    widest = next((name for name in WIDEST if name in flags), "")
    return " ".join(filter(None, [platform.machine(), maker[1] if maker else "", widest, str(os.cpu_count())]))
