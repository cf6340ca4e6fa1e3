"""The command line as a whole: its help, and what it answers to mistyped words."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.repositories import commit_all, git, small_pipeline

from marketplace.cli import create_parser, main


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from parsers(command)


@pytest.mark.parametrize("parser", list(parsers(create_parser())), ids=lambda parser: parser.prog)
def test_the_help_explains_itself_in_80_columns(
    parser: argparse.ArgumentParser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, parser.format_help().splitlines())) <= 80
    assert parser.description or parser.epilog
    unexplained = [action.dest for action in parser._actions if not action.help and action.option_strings]
    assert unexplained == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("serv", "marketplace: error: argument COMMAND: there is no 'serv': did you mean serve?"),
        ("gallery", "argument COMMAND: there is no 'gallery': choose from similar, serve, "),
        ("export qdrnt URL", "marketplace export: error: argument DATABASE: there is no 'qdrnt': did you mean qdrant?"),
        ("--print-completion bsh", "argument --print-completion: there is no 'bsh': did you mean bash?"),
        (
            "similar 3b2 --catgory=Sofas",
            "marketplace similar: error: there is no option --catgory: did you mean --category?",
        ),
        ("review main --raw", "marketplace review: error: there is no option --raw: choose from -h, --help"),
        ("similar a.jpg --turn 91", "argument --turn: there is no 91: choose from 0, 90, 180, 270"),
        ("check now", "unrecognized arguments: now"),
        ("serve --root-path shop", "argument --root-path: 'shop' is not a path such as /shop"),
        ("serve --allow-origin shop.example", "'shop.example' is not an origin: name a scheme and a host"),
    ],
)
def test_a_mistyped_word_is_answered_with_what_it_may_mean(
    arguments: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["marketplace", *arguments.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_without_a_command_the_help_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["marketplace"])
    with pytest.raises(SystemExit):
        main()
    assert "browse the catalogue" in capsys.readouterr().err


def test_a_mistyped_revision_is_answered_with_what_it_may_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = small_pipeline(tmp_path)
    git(root, "branch", "slower")
    git(root, "update-ref", f"refs/exps/ab/{'0' * 38}/faster", commit_all(root))
    monkeypatch.chdir(root)
    for name, suggestion in (("slowr", "slower"), ("fastr", "faster"), ("mian", "main")):
        monkeypatch.setattr(sys, "argv", ["marketplace", "review", name])
        with pytest.raises(SystemExit, match=rf"'{name}' is not a commit.* Did you mean {suggestion}\?"):
            main()
