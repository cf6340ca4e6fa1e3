"""Progress in a log and in a terminal."""

import io
import subprocess
import sys
import time

import pytest

from marketplace.common import progress
from marketplace.common.progress import progress_bar

WORK = """
import time
from marketplace.common import progress
progress.LOG_SECONDS = 0.2
for _ in progress.progress_bar(range(12), total=12, description="working", unit="step"):
    time.sleep(0.05)
"""


def test_a_log_gets_a_line_now_and_then() -> None:
    done = subprocess.run([sys.executable, "-c", WORK], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert 2 <= len(lines) <= 6
    assert all(line.startswith("working: ") and len(line) < 80 for line in lines)
    assert lines[-1].startswith("working: 12 of 12 in ")
    assert "\r" not in done.stderr


def test_short_work_leaves_two_lines_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    assert list(progress_bar(range(3), total=3, description="working", unit="step")) == [0, 1, 2]
    first, last = log.getvalue().splitlines()
    assert first.startswith("working: 0 of 3 in ")
    assert last.startswith("working: 3 of 3 in ")


def test_a_terminal_gets_one_line_that_is_redrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "TERMINAL_SECONDS", 0.0)
    with progress_bar(total=2_000_000, description="sending", unit="B", scale=True) as bar:
        for _ in range(2):
            time.sleep(0.02)
            bar.update(1_000_000)
    assert terminal.getvalue().count("\n") == 1  # at the end
    assert "2.00M/2.00M" in terminal.getvalue()
    with progress_bar(total=1, description="silent", unit="B", show=False) as bar:
        bar.update()
    assert "silent" not in terminal.getvalue()
