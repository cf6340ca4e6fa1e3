"""Resume state: saved after every epoch, outside the repository.

A training run is identified by everything that determines its result, including this project's code, so no other run
finds its state. The state is deleted when the run is done.
"""

import hashlib
import io
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from marketplace.common.files import remove, sha256_of
from marketplace.compute.user_cache import keep, read_kept, remove_unused, user_cache
from marketplace.models import checkpoints


class ResumeState:
    """The saved state of one training run. If the disk cannot hold it, the run continues without."""

    def __init__(self, cache_key: Mapping[str, Any]) -> None:
        key = json.dumps([_hash_code(), cache_key], sort_keys=True)
        folder = user_cache("trainings")
        remove_unused(folder)
        self._folder = folder / hashlib.sha256(key.encode()).hexdigest()[:32]
        self._disk_is_full = False

    def load(self) -> Any | None:
        """Return the state that was saved last, or None if there is none or it is damaged."""
        content = read_kept(self._folder / "state.pt")
        return None if content is None else checkpoints.read(io.BytesIO(content))

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the saved state."""
        if self._disk_is_full:
            return
        loss = "if training is interrupted now, it starts from the beginning"
        content = checkpoints.to_bytes(dict(state))
        if not keep(self._folder / "state.pt", lambda file: file.write(content), loss=loss):
            self._disk_is_full = True
            self.clear()  # an older state may be filling the disk

    def clear(self) -> None:
        """Delete the state."""
        with suppress(FileNotFoundError):  # an identical run may be clearing it as well
            remove(self._folder)


def _hash_code() -> list[str]:
    """Return the hashes of this project's modules that are loaded: training uses no others."""
    modules = [module for name, module in sys.modules.items() if name.startswith("marketplace.")]
    files = sorted(Path(module.__file__) for module in modules if module.__file__)
    return [sha256_of(path) for path in files]
