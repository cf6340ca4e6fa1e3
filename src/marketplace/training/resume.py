"""Resume state: saved after every epoch, outside the repository.

A training run is identified by everything that determines its result, including this project's code, so no other run
finds its state. The state is deleted when the run is done.
"""

import hashlib
import json
import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import remove, remove_unused, sha256_of, user_cache
from marketplace.models import checkpoints

log = logging.getLogger(__name__)


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
        try:
            return checkpoints.load(self._folder / "state.pt")
        except MarketplaceError:
            return None

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the saved state."""
        if self._disk_is_full:
            return
        try:
            checkpoints.save(self._folder / "state.pt", dict(state), shared=True)
        except OSError as error:
            self._disk_is_full = True
            log.warning(
                "%s cannot hold the resume state (%s): if training is interrupted now, it starts from the beginning",
                self._folder.parent,
                error.strerror,
            )
            self.clear()  # half a state is useless, and may be filling the disk

    def clear(self) -> None:
        """Delete the state."""
        with suppress(FileNotFoundError):  # an identical run may be clearing it as well
            remove(self._folder)


def _hash_code() -> list[str]:
    """Return the hashes of this project's modules that are loaded: training uses no others."""
    modules = [module for name, module in sys.modules.items() if name.startswith("marketplace.")]
    files = sorted(Path(module.__file__) for module in modules if module.__file__)
    return [sha256_of(path) for path in files]
