import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.repositories import small_pipeline
from rich.table import Table

from marketplace.common.console import CONTROL_CHARACTERS, run_stage, table_console
from marketplace.common.errors import MarketplaceError

STAGES = sorted((ROOT / "stages").glob("*.py"))


def run_failing_stage(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Return the exit code and stderr of a stage whose `main` raises `error`."""

    def main() -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["stage.py"])
    with pytest.raises(SystemExit) as caught:
        run_stage(main, "A stage.")
    if isinstance(caught.value.code, str):  # Python prints it and exits with 1
        return 1, caught.value.code
    return int(caught.value.code or 0), capsys.readouterr().err


def test_each_kind_of_error_has_its_sentence_and_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_failing_stage(MarketplaceError("no folder."), monkeypatch, capsys) == (1, "ERROR: no folder.")
    code, errors = run_failing_stage(KeyboardInterrupt(), monkeypatch, capsys)
    assert (code, "nothing half-written" in errors) == (130, True)
    code, errors = run_failing_stage(OSError(errno.ENOSPC, "No space left on device", "x.npy"), monkeypatch, capsys)
    assert code == 1
    assert "the disk is full while writing x.npy" in errors
    assert "dvc gc -w" in errors
    for out_of_memory, reason in (
        (MemoryError(), "MemoryError"),
        (RuntimeError("Exception from core.cpp:117:\n  std::bad_alloc\n"), "std::bad_alloc"),
        (ImportError("libtorch_cuda.so: failed to map segment from shared object"), "libtorch_cuda.so: failed to map"),
    ):
        code, errors = run_failing_stage(out_of_memory, monkeypatch, capsys)
        assert code == 1 and errors.startswith(f"ERROR: there is not enough memory ({reason}")
    error = PermissionError(errno.EACCES, "Permission denied", "x.npy")
    assert run_failing_stage(error, monkeypatch, capsys) == (1, "ERROR: x.npy: Permission denied.")


@pytest.mark.parametrize("bug", [AssertionError("a bug"), RuntimeError("a bug"), ImportError("no module")])
def test_a_bug_keeps_its_traceback(bug: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def main() -> None:
        raise bug

    monkeypatch.setattr(sys, "argv", ["stage.py"])
    with pytest.raises(type(bug)):
        run_stage(main, "A stage.")


@pytest.mark.parametrize("stage", STAGES, ids=lambda path: path.stem)
def test_every_stage_has_help(stage: Path) -> None:
    done = subprocess.run([sys.executable, stage, "--help"], capture_output=True, text=True, cwd=ROOT, check=True)
    assert len(done.stdout) > 100


@pytest.mark.parametrize("stage", STAGES, ids=lambda path: path.stem)
def test_a_stage_run_outside_the_repository_says_so(stage: Path, tmp_path: Path) -> None:
    arguments = ["small"] if stage.stem == "train" else []
    done = subprocess.run([sys.executable, stage, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("ERROR: ")
    assert not list(tmp_path.iterdir())


def test_a_missing_triton_is_not_mentioned() -> None:
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "from marketplace.common.console import start_logging\n"
        "start_logging()\n"
        "import torch.utils.flop_counter"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize("home", [None, "", "/nonexistent"])
def test_a_user_without_a_name_or_a_home_folder_can_use_the_command(tmp_path: Path, home: str | None) -> None:
    """As a container has one, if it is started with a user id of its own."""
    code = (
        "import pwd, sys; from marketplace import cli; "
        "pwd.getpwuid = {}.__getitem__; "  # it raises the same error
        "sys.argv[1:] = ['check']; cli.main()"
    )
    variables = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in variables}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=small_pipeline(tmp_path),
        env=environment if home is None else {**environment, "HOME": home},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "dvc.lock is up to date" in done.stderr


CONTROLS = "a\x1b]0;owned\x07\x1b[2Jb\x9b31mc\x00\x7f\r\u202ed"


def test_control_characters_never_reach_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, sentence = run_failing_stage(MarketplaceError(f"{CONTROLS} is no category\r\nin line 1"), monkeypatch, capsys)
    assert code == 1
    assert not CONTROL_CHARACTERS.search(sentence)
    assert sentence.endswith("d is no category\r\nin line 1")

    table = Table("product", CONTROLS)
    table.add_row(CONTROLS, "\N{POUND SIGN}1\t\N{WOMAN}\u200d\N{WRENCH} :smile:")
    console = table_console()
    console.print(CONTROLS)
    console.print(table)
    output = capsys.readouterr().out
    assert not CONTROL_CHARACTERS.search(output)
    assert "\N{WOMAN}\u200d\N{WRENCH} :smile:" in output


def test_messages_have_no_control_characters() -> None:
    code = f"""
import logging
from marketplace.common.console import start_logging
start_logging()
logging.getLogger("marketplace.x").info("%s and\\n%s", {CONTROLS!r}, "more")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not CONTROL_CHARACTERS.search(done.stderr)
    assert done.stderr.endswith("d and\nmore\n")
