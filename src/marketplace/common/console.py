"""Command-line conventions: `--help`, logging, and one clear sentence when a user's mistake ends a run."""

import argparse
import errno
import getpass
import io
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from marketplace.common.copies import check_this_copy
from marketplace.common.errors import MarketplaceError, first_line

if TYPE_CHECKING:
    from rich.console import Console

NO_HOME = "/nonexistent"  # as Debian names it for users without one
PIPE_WIDTH = 1000  # columns: no line is that long
# Commands to a terminal, and characters that change the direction of the text after them.
CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]|\r(?!\n)")
DISK_FULL_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Out-of-memory messages of the loader, PyTorch on a CPU and on a GPU, C++ and the OS.
OUT_OF_MEMORY_MESSAGES = (
    "failed to map segment",
    "can't allocate memory",
    "out of memory",
    "bad_alloc",
    "Cannot allocate memory",
)


def run_stage(main: Callable[..., None], description: str | None, **arguments: Sequence[str]) -> None:
    """Run a stage's `main` as a command.

    `arguments` are its positional arguments, each with the values it may take.
    Exit codes: 0 done, 1 an error that the last line on stderr explains, 2 wrong usage, 130 interrupted.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, choices in arguments.items():
        parser.add_argument(name, choices=choices)
    values = vars(parser.parse_args())
    start_logging()
    with report_errors():
        if not Path("dvc.yaml").is_file():  # checked before the stage spends seconds on loading its libraries
            raise MarketplaceError(f"there is no dvc.yaml in {Path.cwd()}: run this from the repository's root.")
        from marketplace.common.params import check_params  # slower to import than `marketplace --help` is to run

        check_params()
        check_this_copy()
        main(**values)


def provide_user() -> None:
    """Give this process a name and a home folder if its user has none, as a user id without an account in a container.

    DVC and PyTorch ask for both. The home folder does not exist: caches are then temporary, with a warning.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13
        os.environ["USER"] = str(os.getuid())
    if not _has_home():
        os.environ["HOME"] = NO_HOME


def _has_home() -> bool:
    if os.environ.get("HOME") == "":  # Python takes it for /
        return False
    try:
        return Path.home().is_absolute()
    except RuntimeError:
        return False


def start_logging() -> None:
    """Send this package's messages to stderr, and warnings from all others.

    A character that a console cannot show becomes a question mark, not an error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PrintableFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("marketplace").setLevel(logging.INFO)
    # It warns that Triton is missing, which the locks leave out.
    logging.getLogger("torch.utils.flop_counter").setLevel(logging.ERROR)


def printable(text: str) -> str:
    """Replace control characters except tabs and line ends: a text from a file must not command a terminal."""
    return CONTROL_CHARACTERS.sub("\N{REPLACEMENT CHARACTER}", text)


class _PrintableFormatter(logging.Formatter):
    """Formats messages without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


@contextmanager
def report_errors() -> Iterator[None]:
    """Print a sentence, not a traceback, when a user's mistake, Ctrl-C or a full disk or memory ends the program."""
    try:
        yield
    except MarketplaceError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        print("\nInterrupted: nothing half-written is left.", file=sys.stderr)
        sys.exit(130)
    except FileNotFoundError as error:
        _fail(
            f"{error.filename or error} is missing (looked in {Path.cwd()}). Run this in the repository's root; "
            "`dvc repro` makes the files that a stage needs, `dvc pull` downloads them."
        )
    except (MemoryError, ImportError, RuntimeError) as error:
        reason = _out_of_memory_reason(error)
        if reason is None:
            raise
        _fail(
            f"there is not enough memory ({reason}). Close other programs, or set smaller values for "
            "resize_images.full or train.batch_size; nothing half-written is left."
        )
    except OSError as error:
        if error.errno not in DISK_FULL_ERRORS:
            if error.filename is None:
                raise
            _fail(f"{error.filename}: {error.strerror}.")
        where = f" while writing {error.filename}" if error.filename else ""
        _fail(
            f"the disk is full{where} ({error.strerror}). Nothing half-written is left: free some space "
            "(`dvc gc -w` drops cached results that this workspace does not use) and run `dvc repro` again."
        )


def _fail(sentence: str) -> NoReturn:
    sys.exit(f"ERROR: {printable(sentence)}")


def _out_of_memory_reason(error: Exception) -> str | None:
    """Return the line of an error that says that memory ran out; None if it is another error."""
    for line in str(error).splitlines():
        if any(message in line for message in OUT_OF_MEMORY_MESSAGES):
            return line.strip()
    return first_line(error) if isinstance(error, MemoryError) else None


def table_console(*, markup: bool = False) -> "Console":
    """Return a console for tables, in which lines are only cut or wrapped in a terminal.

    With `markup`, texts such as "[bold]0.5[/bold]" are formatted. Control characters are replaced.
    """
    from rich.console import Console
    from rich.text import Text

    class PrintableConsole(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(printable(text), **options)

    console = PrintableConsole(markup=markup, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def project_root() -> Path:
    """Return the pipeline's folder: this one, or the nearest parent that has a dvc.yaml. Raises MarketplaceError."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise MarketplaceError(f"{here} has no dvc.yaml, nor has any folder above it: run this in the repository.")


def port(text: str) -> int:
    """Parse an option that is a port. Raises ArgumentTypeError."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: a number from 1 to 65535")
    return int(text)


def share(text: str) -> float:
    """Parse an option that is a number from 0 to less than 1. Raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to less than 1, such as 0.3")
    return value


def count(text: str) -> int:
    """Parse an option that is a number from 1 to 1000. Raises ArgumentTypeError."""
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000")
    return int(text)
