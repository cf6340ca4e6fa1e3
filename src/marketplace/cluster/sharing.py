"""Large values that tasks read from a file of the cache, so that they need not travel through the scheduler."""

import functools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marketplace.common.files import user_cache


@dataclass(frozen=True)
class SharedValue:
    """The path of a value's file, which travels in its place."""

    path: Path

    def load(self) -> Any:
        """Return the value; its arrays are memory-mapped."""
        return _load(self.path)


@functools.lru_cache(maxsize=1)
def _load(path: Path) -> Any:
    import joblib

    return joblib.load(path, mmap_mode="r")


@contextmanager
def share(value: Any) -> Iterator[SharedValue]:
    """Write a value to the cache for the tasks of the block."""
    import joblib  # it maps arrays into memory, so that the processes of a machine hold them once

    with tempfile.TemporaryDirectory(dir=user_cache("shared")) as folder:
        path = Path(folder).resolve() / "value"
        joblib.dump(value, path)
        yield SharedValue(path)
