"""CPU properties that affect floating-point rounding."""

import functools
import os
import platform
import re
from pathlib import Path

VECTOR_INSTRUCTIONS = ("avx512f", "avx2", "avx")  # widest first


def _vendor() -> str:
    """Return the processor's maker as Linux names it, such as "AuthenticAMD"; empty on other systems."""
    match = re.search(r"vendor_id\s*: (\S+)", _cpu_info())
    return match[1] if match else ""


@functools.cache
def kind_of_processor() -> str:
    """Return architecture, maker and widest vector instructions: "x86_64 AuthenticAMD avx2"."""
    flags = set(_cpu_info().split())
    widest = next((name for name in VECTOR_INSTRUCTIONS if name in flags), "")
    return " ".join(filter(None, [platform.machine(), _vendor(), widest]))


def processor() -> str:
    """Return the kind of processor and the number of cores: "x86_64 AuthenticAMD avx2 2"."""
    return f"{kind_of_processor()} {os.cpu_count()}"


def has_bfloat16() -> bool:
    """Return whether the processor multiplies bfloat16 numbers: others imitate it, 40 to 500 times slower."""
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(_cpu_info().split()))


@functools.cache
def _cpu_info() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not on Linux
        return platform.processor()
