"""Resume state: saved after every epoch, kept outside the repository.

A training run is identified by everything that determines its result, including this package's code, so no other run
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
from marketplace.models.backbones import StateDict

log = logging.getLogger(__name__)


class ResumeState:
    """The saved state of one training run; if the disk cannot hold it, the run continues without."""

    def __init__(self, cache_key: Mapping[str, Any]) -> None:
        key = json.dumps([_code(), cache_key], sort_keys=True)
        folder = user_cache("trainings")
        remove_unused(folder)
        self._folder = folder / hashlib.sha256(key.encode()).hexdigest()[:32]
        self._fits = True

    def load(self) -> Any | None:
        """The state that was saved last, or None."""
        try:
            return checkpoints.load(self._folder / "state.pt")
        except MarketplaceError:  # nothing there, or the disk damaged it
            return None

    def save(self, state: Mapping[str, Any]) -> None:
        """Save the state in place of the one before."""
        self._write("state.pt", dict(state))

    def weights(self, epoch: int) -> Any:
        """An epoch's weights, as `keep_weights` saved them."""
        return checkpoints.load(self._folder / f"epoch-{epoch:02}.pt")

    def keep_weights(self, epoch: int, state: StateDict) -> None:
        """Save an epoch's weights."""
        self._write(f"epoch-{epoch:02}.pt", state)

    def clear(self) -> None:
        """Delete the state and the weights."""
        with suppress(FileNotFoundError):  # a twin of this run may be clearing too
            remove(self._folder)

    def _write(self, name: str, content: Any) -> None:
        if not self._fits:
            return
        try:
            checkpoints.save(self._folder / name, content, shared=True)
        except OSError as error:
            self._fits = False
            log.warning(
                "%s cannot hold the resume state (%s): if training is interrupted now, it starts from the beginning",
                self._folder.parent,
                error.strerror,
            )
            self.clear()  # the rest is useless, and may be what fills the disk


def _code() -> list[str]:
    """Hashes of the modules of this package that training uses, or has at least loaded."""
    modules = [module for name, module in sys.modules.items() if name.startswith("marketplace.")]
    files = sorted(Path(module.__file__) for module in modules if module.__file__)
    return [sha256_of(path) for path in files]
