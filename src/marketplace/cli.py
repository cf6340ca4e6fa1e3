"""The command `marketplace`: find similar products with a finished pipeline, and review changes to it."""

import argparse
import difflib
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

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


_NO_VALUE = re.compile(r"argument (?:-\w/)?(--[\w-]+): expected one argument")


class _Parser(argparse.ArgumentParser):
    """Suggests the command, value or option that a mistyped one may mean, as Python 3.14 does for the first two."""

    def error(self, message: str) -> NoReturn:
        option = _NO_VALUE.fullmatch(message)
        hint = f"; a value that begins with a dash needs an equals sign: {option[1]}=-red" if option else ""
        super().error(message + hint)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = action.choices
        if choices is not None and value not in choices:
            raise argparse.ArgumentError(action, f"there is no {value!r}: {_suggest(str(value), choices)}")

    # A command's options are parsed here, too, so that its own usage precedes the mistake.
    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        known, others = super().parse_known_args(args, namespace)
        for option in [text.partition("=")[0] for text in others if text.startswith("-")]:
            self.error(f"there is no option {option}: {_suggest(option, self._option_string_actions)}")
        return known, others


def _suggest(text: str, choices: Iterable[Any]) -> str:
    """Return the choice that a text may mean, as a question; all choices if it is close to none."""
    known = list(map(str, choices))
    close = difflib.get_close_matches(text, known, n=1)
    return f"did you mean {close[0]}?" if close else f"choose from {', '.join(known)}"


def create_parser() -> argparse.ArgumentParser:
    """Create the command line's parser, with all commands."""
    parser = _Parser(
        prog="marketplace",
        description="Find similar products with a finished pipeline, and judge changes to it.",
        epilog="`marketplace COMMAND --help` explains a command. Begin with `marketplace serve`.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    shtab.add_argument_to(parser, help="print a completion script for your shell, to be sourced")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_serving_commands(commands)
    add_review_commands(commands)
    return parser


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 an error that stderr explains, 2 wrong usage, 130 interrupted."""
    parser = create_parser()
    if len(sys.argv) == 1:
        parser.print_help(sys.stderr)
        sys.exit(2)
    options = parser.parse_args()
    start_logging()
    provide_user()
    try:
        with report_errors():
            options.run(options)
            sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has stopped reading
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
