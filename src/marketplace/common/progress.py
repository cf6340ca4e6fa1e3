"""Progress bars: redrawn in a terminal; in a log, a line at the beginning, now and then, and at the end."""

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

TERMINAL_SECONDS = 0.5  # between two states in a terminal
LOG_SECONDS = 30.0  # between two lines in a log
LOG_FORMAT = "{desc}: {n_fmt} of {total_fmt} in {elapsed}"
LOG_FORMAT_WITHOUT_TOTAL = "{desc}: {n_fmt} in {elapsed}"
PATIENCE_SECONDS = 2.0  # work of unknown length is shown once it has taken this long


class _LogLines:
    """A file for tqdm that writes each state of a bar to a log as a separate line."""

    def __init__(self, log: TextIO) -> None:
        self._log = log

    def write(self, text: str) -> None:
        """Write a state, without the characters that move a terminal's cursor."""
        state = text.strip()
        if state:
            self._log.write(f"{state}\n")

    def flush(self) -> None:
        """Flush the log."""
        self._log.flush()


def progress_bar(
    iterable: Iterable[Any] | None = None,
    *,
    total: int | None,
    description: str,
    unit: str,
    show: bool = True,
    scale: bool = False,
) -> "tqdm[Any]":
    """Return a progress bar on stderr over `total` units: around an iterable, or for the caller to update.

    It is hidden if there is no work, or without `show`. With `scale`, numbers get prefixes such as k and M. Without a
    `total`, the bar counts, and appears only if the work takes long.
    """
    options: dict[str, Any] = {"mininterval": TERMINAL_SECONDS}
    if not sys.stderr.isatty():
        log_format = LOG_FORMAT_WITHOUT_TOTAL if total is None else LOG_FORMAT
        options = {"mininterval": LOG_SECONDS, "maxinterval": LOG_SECONDS, "bar_format": log_format}
        options["file"] = _LogLines(sys.stderr)
    if total is None:
        options |= {"delay": PATIENCE_SECONDS, "leave": False}
    hide = not show or total == 0
    return tqdm(iterable, total=total, desc=description, unit=unit, unit_scale=scale, disable=hide, **options)
