"""Caches of a test's own."""

import random
from pathlib import Path

from marketplace.compute.user_cache import user_cache


def make_damaged_cache(folder: Path) -> str:
    """Make a cache of all that the tests' cache holds now, with one byte changed in every file; return its path."""
    cache = user_cache("")
    for path in sorted(path for path in cache.rglob("*") if path.is_file() and path.suffix != ".part"):
        content = bytearray(path.read_bytes())
        content[random.Random(path.name).randrange(len(content))] ^= 1
        copy = folder / path.relative_to(cache)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
    return str(folder)
