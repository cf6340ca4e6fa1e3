"""The commands of README and docs, run one after the other as a reader would type them."""

import shlex

import pandas as pd
from helpers.project import COMMAND, Project
from test_docs import commands

MAIN_PAGES = ["README.md", "EXPERIMENTS.md"]  # whose commands follow each other
NOT_RUN = {
    "make repro": "`dvc repro` and the report are run here; setting up .venv takes minutes",
    "make test": "runs this test",
    "make coverage": "runs this test",
    "make lint": "pre-commit and CI run it; setting up .venv takes minutes",
    "make lock": "asks the package index for the newest versions",
    "make check": "`marketplace check`, which tests/review runs; setting up .venv takes minutes",
    "make release VERSION=0.2.0": "tests/test_repository.py; it commits",
    "make noise": "`marketplace noise`, which tests/review runs; it trains five times",
    "make experiments": "`marketplace experiments` is run here",
    "marketplace serve": "never ends; tests/serving runs it",
    "marketplace serve --root-path /similar": "never ends; tests/serving/test_prefixes.py",
    "marketplace serve --compare main": "never ends; tests/serving/test_comparison.py",
    "marketplace tune": "needs judgements; tests/review/test_tuning.py",
    "marketplace feedback --export": "needs ratings; tests/serving/test_feedback.py",
    "marketplace feedback": "needs ratings; tests/serving/test_feedback.py",
    "marketplace feedback main": "needs thumbs; tests/serving/test_feedback.py",
    "marketplace export qdrant http://HOST:6333": "needs a server; tests/recommendation/test_qdrant.py fills a folder",
    "marketplace review": "is named in a sentence",
    "marketplace similar": "is named in a sentence",
    "dvc exp run -S fetch.source=local -S fetch.local.path=/path/to/dump": "tests/pipeline/test_odd_shop.py",
    "dvc exp run -S fetch.source=local -S fetch.local.path=/path/to/dump -S 'watch=[source]'": (
        "tests/sources/test_watch.py"
    ),
    "dvc exp run -S fetch.source=local -S fetch.local.path=DIR": "tests/pipeline/test_odd_shop.py",
    "dvc exp run -S fetch.source=s3 -S fetch.s3.url=s3://bucket/dump": "tests/sources/test_remote.py",
    "dvc exp run -S fetch.source=ec2": "tests/sources/test_production.py",
    "dvc exp run -S train.lr=3e-4 -S train_full.epochs=8": "trains once more; as the one before",
    "dvc exp run -S model.sentence_model=/path/to/multilingual": "tests/pretrained/test_sentence_model.py",
    "dvc exp run -S train.lr=9e-4": "trains once more; as that of README",
    "dvc exp run --temp -S train.lr=3e-4": "the fixture `experimented` runs one",
    "dvc exp run --queue -S train.lr=1e-4,3e-4,1e-3": "the fixture `experimented` runs a queue",
    "dvc queue start": "the fixture `experimented` runs a queue",
    "dvc artifacts get URL image-model --stage prod": "tests/pipeline/test_registry.py",
    "dvc artifacts get URL text-model --stage prod": "tests/pipeline/test_registry.py",
    "dvc remote": "tests/sources/test_production.py shares a cache in a bucket",
    "python benchmarks/": "takes minutes; tests/test_docs.py compares its options",
}
JUDGES = "marketplace review"  # whose exit status says whether the change is good


def test_documented_commands_run_in_the_order_of_the_page(shared_project: Project) -> None:
    """Page after page in one project, whose run cache knows an experiment that two pages run."""
    project = shared_project
    ids = pd.read_parquet(project.folder / "data/recommendations.parquet")["product_id"].unique()[:3]
    names = {"PRODUCT_ID": str(ids[0]), "PHOTO": "docs/example.jpg"}
    names |= dict(zip(("3b215975", "a91e8857", "78b0ddff"), (product_id[:8] for product_id in ids), strict=True))
    for page in [*MAIN_PAGES, "the others"]:
        documented = commands_of(page)
        assert len(documented) > 10, page
        run_here = [command for command in documented if not reason_not_to_run(command)]
        assert len(run_here) > 5, page
        for command in run_here:
            run(project, command, names)
        project.restore()


def test_whatever_is_not_run_is_documented() -> None:
    documented = {command for _, command in commands()}
    for beginning in NOT_RUN:
        assert any(command.startswith(beginning) for command in documented), beginning


def commands_of(page: str) -> list[str]:
    """The commands of a page, each once; of "the others", those that the main pages do not have."""
    main = {command for name, command in commands() if name in MAIN_PAGES}
    if page in MAIN_PAGES:
        return list(dict.fromkeys(command for name, command in commands() if name == page))
    return list(dict.fromkeys(command for _, command in commands() if command not in main))


def reason_not_to_run(command: str) -> str | None:
    """Why a command is left out: it is in NOT_RUN, or begins with what is there and takes any arguments."""
    groups = [name for name in NOT_RUN if name.endswith(("/", "remote", "=ec2")) and command.startswith(name)]
    return NOT_RUN.get(command) or (NOT_RUN[groups[0]] if groups else None)


def run(project: Project, command: str, names: dict[str, str]) -> None:
    """Run a command as it is documented, with ids that this catalogue has."""
    words = [names.get(word, word) for word in shlex.split(command) if not word.startswith("[")]
    code = None if command.startswith(JUDGES) else 0
    of_copy = ["python", "-c", COMMAND, *words[1:]] if words[0] == "marketplace" else words
    output = project.run(*of_copy, code=code)
    assert "Traceback" not in output, command
    assert code == 0 or "Verdict" in output
