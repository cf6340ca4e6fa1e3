"""What every stage script shares: `--help`, logging, and one clear sentence where a user's mistake ends a run."""

import argparse
import errno
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from marketplace.errors import MarketplaceError

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def run_stage(main: Callable[..., None], description: str | None, **arguments: Sequence[str]) -> None:
    """Run a stage's `main` as a command; `arguments` are its positional ones, each with the values it may take.

    Exit codes: 0 done, 1 a mistake that the last line on stderr explains, 2 wrong usage, 130 interrupted.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, choices in arguments.items():
        parser.add_argument(name, choices=choices)
    values = vars(parser.parse_args())
    start_logging()
    with plain_mistakes():
        main(**values)


def start_logging() -> None:
    """Have this package say on stderr what it does, and other packages what is wrong."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger(__package__).setLevel(logging.INFO)


@contextmanager
def plain_mistakes() -> Iterator[None]:
    """Where a user's mistake, Ctrl-C or a full disk ends the program, have it say so in a sentence, not a traceback."""
    try:
        yield
    except MarketplaceError as error:
        sys.exit(f"ERROR: {error}")
    except KeyboardInterrupt:
        print("\nInterrupted: nothing half-written is left.", file=sys.stderr)
        sys.exit(130)
    except FileNotFoundError as error:
        sys.exit(
            f"ERROR: {error.filename or error} is missing (looked in {Path.cwd()}). Run this in the repository's root; "
            "`dvc repro` makes what a stage needs, `dvc pull` fetches it."
        )
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        where = f" while writing {error.filename}" if error.filename else ""
        sys.exit(
            f"ERROR: the disk is full{where} ({error.strerror}). Nothing half-written is left: free some space "
            "(`dvc gc -w` drops cached results that this workspace does not use) and run `dvc repro` again."
        )
