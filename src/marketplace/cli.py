"""The command `marketplace`: find similar products with a finished pipeline, and review changes to it."""

import argparse
import os
import sys

import shtab

from marketplace.common.console import provide_user, report_errors, start_logging
from marketplace.review.commands import add_commands as add_review_commands
from marketplace.serving.commands import add_commands as add_serving_commands


class _Version(argparse.Action):
    """Prints the version, which is looked up only then: that takes longer than building the parser."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        sys.stdout.write(f"marketplace {version('marketplace')}\n")
        parser.exit()


def create_parser() -> argparse.ArgumentParser:
    """Create the command line's parser, with all commands."""
    parser = argparse.ArgumentParser(prog="marketplace", description=__doc__)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    shtab.add_argument_to(parser, help="print a completion script for your shell, to be sourced")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_serving_commands(commands)
    add_review_commands(commands)
    return parser


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 an error that stderr explains, 2 wrong usage, 130 interrupted."""
    options = create_parser().parse_args()
    start_logging()
    provide_user()
    try:
        with report_errors():
            options.run(options)
            sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has stopped reading
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
