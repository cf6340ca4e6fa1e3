"""The commands of README and of the page about experiments, run one after the other as a reader would type them."""

import shlex
from pathlib import Path

import pandas as pd
import pytest
from helpers.project import COMMAND, Project
from test_docs import commands

NOT_RUN = {
    "make repro": "`dvc repro` and the report are run here; setting up .venv takes minutes",
    "make test": "runs this test",
    "make check": "`marketplace check`, which tests/review runs; setting up .venv takes minutes",
    "make noise": "`marketplace noise`, which tests/review runs; it trains five times",
    "make experiments": "`marketplace experiments` is run here",
    "marketplace serve": "never ends; tests/serving runs it",
    "dvc exp run -S fetch.source=local -S fetch.local.path=/path/to/dump": "tests/pipeline/test_odd_shop.py",
    "dvc exp run -S train.lr=3e-4 -S train_full.epochs=8": "trains once more; as the one before",
    "dvc exp run --temp -S train.lr=3e-4": "the fixture `experimented` runs one",
    "dvc exp run --queue -S train.lr=1e-4,3e-4,1e-3": "the fixture `experimented` runs a queue",
    "dvc queue start": "the fixture `experimented` runs a queue",
}
JUDGES = "marketplace review"  # whose exit status says whether the change is good


@pytest.fixture
def project(copy_of_reproduced: Project, tmp_path: Path) -> Project:
    """A reproduced project on `main`, with a Git remote and a DVC remote."""
    project = copy_of_reproduced
    project.run("git", "init", "-q", "--bare", str(tmp_path / "origin"))
    project.dvc("remote", "add", "--default", "storage", str(tmp_path / "storage"))
    for command in (
        ["branch", "-M", "main"],
        ["remote", "add", "origin", str(tmp_path / "origin")],
        ["add", "-A"],
        ["commit", "-qm", "reproduced"],
        ["push", "-q", "origin", "main"],
    ):
        project.run("git", *command)
    return project


@pytest.mark.parametrize("page", ["README.md", "EXPERIMENTS.md"])
def test_documented_commands_run_in_the_order_of_the_page(project: Project, page: str) -> None:
    product_id = str(pd.read_parquet(project.folder / "data/recommendations.parquet")["product_id"][0])
    names = {"3b215975": product_id[:8], "PRODUCT_ID": product_id}
    documented = dict.fromkeys(command for name, command in commands() if name == page)
    assert len(documented) > 10
    for command in documented:
        if command not in NOT_RUN:
            run(project, command, names)


def run(project: Project, command: str, names: dict[str, str]) -> None:
    """Run a command as it is documented, with ids that this catalogue has."""
    words = [names.get(word, word) for word in shlex.split(command) if not word.startswith("[")]
    code = None if command.startswith(JUDGES) else 0
    of_copy = ["python", "-c", COMMAND, *words[1:]] if words[0] == "marketplace" else words
    said = project.run(*of_copy, code=code)
    assert "Traceback" not in said, command
    assert code == 0 or "Verdict" in said
