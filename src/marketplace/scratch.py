"""What an interrupted training goes on from: its state after every epoch, kept outside the repository.

A training is known by all that determines its result, this package's code included, so that no other run finds its
state. It is deleted when the training is done.
"""

import hashlib
import json
import logging
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from marketplace import checkpoints
from marketplace.errors import MarketplaceError
from marketplace.files import remove, user_cache
from marketplace.networks import StateDict

log = logging.getLogger(__name__)

STALE_SECONDS = 14 * 24 * 3600


class Scratch:
    """The saved state of one training; where the disk cannot hold it, the training goes on without."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        key = json.dumps([_code(), facts], sort_keys=True)
        folder = user_cache("trainings")
        for other in folder.iterdir():
            with suppress(FileNotFoundError):  # another training may be clearing too
                if time.time() - other.stat().st_mtime > STALE_SECONDS:
                    remove(other)
        self._folder = folder / hashlib.sha256(key.encode()).hexdigest()[:32]
        self._fits = True

    def load(self) -> Any | None:
        """What was saved last, or None."""
        try:
            return checkpoints.load(self._folder / "state.pt")
        except MarketplaceError:  # nothing there, or the disk damaged it
            return None

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace what was saved before."""
        self._write("state.pt", dict(state))

    def weights(self, epoch: int) -> Any:
        """An epoch's weights, as they were kept."""
        return checkpoints.load(self._folder / f"epoch-{epoch:02}.pt")

    def keep_weights(self, epoch: int, state: StateDict) -> None:
        """Keep an epoch's weights, too."""
        self._write(f"epoch-{epoch:02}.pt", state)

    def clear(self) -> None:
        """Delete all of it."""
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
                "%s cannot hold the training's state (%s): if it is interrupted now, it starts anew",
                self._folder.parent, error.strerror,
            )  # fmt: skip
            self.clear()  # what is left is of no use, and may be what fills the disk


def _code() -> list[str]:
    """Hashes of the modules of this package that the training uses, or at least has loaded."""
    modules = [module for name, module in sys.modules.items() if name.startswith(f"{__package__}.")]
    files = sorted(Path(module.__file__) for module in modules if module.__file__)
    return [checkpoints.sha256_of(path) for path in files]
