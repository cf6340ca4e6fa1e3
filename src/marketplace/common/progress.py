"""Progress bars: redrawn in a terminal; in a log, a line at the beginning, now and then, and at the end."""

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

REDRAWN = 0.5  # seconds between two states in a terminal
LOGGED = 30.0  # … and in a log
IN_LOG = "{desc}: {n_fmt} of {total_fmt} in {elapsed}"


class _Lines:
    """A log in which each state of a bar is a line of its own."""

    def __init__(self, log: TextIO) -> None:
        self._log = log

    def write(self, text: str) -> None:
        """Write a state; what only moves a terminal's cursor is left out."""
        state = text.strip()
        if state:
            self._log.write(f"{state}\n")

    def flush(self) -> None:
        """Have the log written."""
        self._log.flush()


def progress_bar(
    iterable: Iterable[Any] | None = None, *, total: int, what: str, unit: str, shown: bool = True, scaled: bool = False
) -> "tqdm[Any]":
    """A progress bar over `total` units: around an iterable, or to be updated; on stderr, unless not `shown`.

    Nothing is shown of no work. With `scaled`, numbers get prefixes such as k and M.
    """
    how: dict[str, Any] = {"mininterval": REDRAWN}
    if not sys.stderr.isatty():
        how = {"mininterval": LOGGED, "maxinterval": LOGGED, "bar_format": IN_LOG}
        how["file"] = _Lines(sys.stderr)
    hidden = not shown or total == 0
    return tqdm(iterable, total=total, desc=what, unit=unit, unit_scale=scaled, disable=hidden, **how)
