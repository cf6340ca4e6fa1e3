"""Progress bars: redrawn in a terminal, a line now and then in a log."""

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

REDRAWN = 0.5  # seconds between two states in a terminal
LOGGED = 30.0  # … and in a log
AT_ONCE = 2.0  # seconds; work that is over sooner leaves no line in a log
IN_LOG = "{desc}: {n_fmt} of {total_fmt} in {elapsed}, {rate_fmt}"


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

    With `scaled`, numbers get prefixes such as k and M.
    """
    how: dict[str, Any] = {"mininterval": REDRAWN}
    if not sys.stderr.isatty():
        how = {"mininterval": LOGGED, "maxinterval": LOGGED, "delay": AT_ONCE, "bar_format": IN_LOG}
        how["file"] = _Lines(sys.stderr)
    return tqdm(iterable, total=total, desc=what, unit=unit, unit_scale=scaled, disable=not shown, **how)
