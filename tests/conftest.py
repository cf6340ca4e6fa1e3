"""Fixtures that several test files share; what they are made of is in helpers/."""

import os

# Before PyTorch is imported: two training runs on all cores slow each other ten times.
if "PYTEST_XDIST_WORKER" in os.environ:
    for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[_variable] = "1"

import gc
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import warm_python
from helpers.dumps import odd_dump
from helpers.networks import SHARED_CACHE
from helpers.nginx import NAME
from helpers.paths import LISTINGS, MARKET, ROOT
from helpers.project import Project, built_once, copy_of
from helpers.training_runs import CATEGORIES, COLOURS
from playwright.sync_api import Browser, sync_playwright

from marketplace.models.checkpoints import Checkpoint, checkpoint_of
from marketplace.models.network import Network, build_pretrained_network
from marketplace.pretrained.sentence_model import INSTALLED, write_sentence_model
from marketplace.settings import Settings, load_settings
from marketplace.sources.fetch import fetch
from marketplace.sources.sample.dump import SampleDump
from marketplace.training.data import Split, TrainingData

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LONGEST = "test_documented_commands.py"  # takes some minutes


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A cache that all test processes share, as all of a user's experiments do."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    os.environ["MARKETPLACE_CACHE"] = str(folder / "cache")
    os.environ[SHARED_CACHE] = str(folder / "cache")
    (folder / "cache").mkdir(exist_ok=True)


def pytest_configure(config: pytest.Config) -> None:
    """Collect garbage less often, and say where a warm interpreter may be started.

    The processes of pytest-xdist inherit the latter from the first one.
    """
    gc.set_threshold(warm_python.COLLECTION_THRESHOLD)
    if not hasattr(config, "workerinput"):
        folder = tempfile.mkdtemp(prefix="warm-python-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        os.environ[warm_python.FOLDER] = folder
        os.environ[warm_python.PARENT] = str(os.getpid())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest test: a process that comes to it last keeps all others waiting."""
    items.sort(key=lambda item: item.path.name != LONGEST)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("FAIL_ON_SKIP") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The project's own settings."""
    return load_settings(ROOT / "params.yaml")


@pytest.fixture(scope="session")
def listings() -> Path:
    """The real listings."""
    if not LISTINGS.is_dir():
        pytest.skip(f"the real listings are not at {LISTINGS}; MARKETPLACE_LISTINGS may name another folder")
    return LISTINGS


@pytest.fixture(scope="session")
def market() -> Path:
    """Real listings with their sellers' descriptions."""
    if not MARKET.is_dir():
        pytest.skip(f"the real marketplace is not at {MARKET}; MARKETPLACE_MARKET may name another folder")
    return MARKET


@pytest.fixture(scope="session")
def sample(settings: Settings) -> SampleDump:
    """A drawn dump of some 250 photos, with all kinds of defects."""
    return SampleDump(settings.fetch.sample.model_copy(update={"products": 130, "defect_rate": 0.01}))


@pytest.fixture(scope="session")
def raw(sample: SampleDump, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That dump, fetched."""
    target = tmp_path_factory.mktemp("raw")
    fetch(sample, target, n_shards=4, limit=None)
    return target


@pytest.fixture(scope="session")
def start() -> Checkpoint:
    torch.manual_seed(0)
    network = build_pretrained_network("efficientnet_lite0", "IMAGENET1K_V1")
    checkpoint = checkpoint_of(network, weights="IMAGENET1K_V1", size=0, categories=[], leaves=[], epoch=0, figures={})
    state = checkpoint["state_dict"]
    checkpoint["state_dict"] = {name: state[name] for name in state if "categories" not in name}
    return checkpoint


@pytest.fixture(scope="session")
def network() -> Network:
    """A small network with random weights."""
    torch.manual_seed(0)
    return Network("resnet18", n_categories=len(CATEGORIES)).eval()


@pytest.fixture(scope="session")
def sentence_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the installed sentence model."""
    folder = tmp_path_factory.mktemp("models") / "sentence_model"
    write_sentence_model(folder, INSTALLED)
    return folder


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Random squares for that network."""
    return np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def data() -> TrainingData:
    """Noisy squares in three colours: easy to tell apart."""
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, 3, 60))
    images = rng.integers(0, 120, (60, 32, 32, 3))
    images[np.arange(60), :, :, labels] += 100
    rows = np.arange(60)
    train_rows, val_rows = rows[rows % 3 != 0], rows[rows % 3 == 0][:15]
    train_split, val_split = (
        Split(chosen, labels[chosen], torch.arange(len(chosen)) // 2, labels[chosen])
        for chosen in (train_rows, val_rows)
    )
    return TrainingData(images.astype(np.uint8), train_split, val_split, COLOURS, COLOURS)


@pytest.fixture(scope="session")
def make_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Project]:
    """Make a copy of this project with tiny parameters and the given changes."""

    def make(**params: object) -> Project:
        return Project(tmp_path_factory.mktemp("project"), **params)

    return make


@pytest.fixture
def copy_of_reproduced(reproduced: Project, make_project: Callable[..., Project]) -> Iterator[Project]:
    """Another copy with the same outputs in place, to do with as one likes."""
    project = copy_of(reproduced, make_project())
    yield project
    shutil.rmtree(project.folder)


@pytest.fixture
def shared_project(copy_of_reproduced: Project, tmp_path: Path) -> Project:
    """A reproduced project on `main`, with the Git remote `origin` and the DVC remote `storage` in `tmp_path`."""
    project = copy_of_reproduced
    project.run("git", "init", "-q", "--bare", "--initial-branch=main", str(tmp_path / "origin"))
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


@pytest.fixture(scope="session")
def reproduced(make_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of this project in which `dvc repro` has run. Tests that share it leave it as they found it."""

    def build() -> Project:
        project = make_project()
        project.dvc("repro")
        return project

    return built_once("reproduced", build, tmp_path_factory)


@pytest.fixture(scope="session")
def odd_shop(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A reproduced project in the folder `shop` of a larger repository, of a dump with odd ids and prices.

    Tests that share it leave it as they found it.
    """

    def build() -> Project:
        repository = tmp_path_factory.mktemp("monorepo")
        dump = odd_dump().write(repository / "dump")
        (repository / "shop").mkdir()
        project = Project(repository / "shop", **{"fetch.source": "local", "fetch.local.path": str(dump)})
        shutil.rmtree(project.folder / ".git")
        for command in (["init", "-q", ".."], ["add", "-A"], ["commit", "-qm", "start"]):
            project.run("git", *command)
        project.dvc("repro")
        for command in (["add", "-A"], ["commit", "-qm", "reproduced"]):
            project.run("git", *command)
        return project

    return built_once("odd_shop", build, tmp_path_factory)


@pytest.fixture(scope="session")
def experimented(
    reproduced: Project, make_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """Another copy, committed on `main`, with experiments: `several`, `rate`, and two of a sweep that was queued.

    Tests that share it leave `main` and the working tree as they found them.
    """

    def build() -> Project:
        project = copy_of(reproduced, make_project())
        for command in (["branch", "-M", "main"], ["add", "-A"], ["commit", "-qm", "reproduced"]):
            project.run("git", *command)
        changes = ("-S", "recommend.k=8", "-S", "recommend.same_category=true")
        project.dvc("exp", "run", "--queue", "-n", "several", *changes)
        project.dvc("exp", "run", "--temp", "-n", "rate", "-S", "train.lr=1e-5")
        project.dvc("exp", "run", "--queue", "-S", "recommend.price_factor=1.5,2.5")
        project.dvc("queue", "start", "--jobs", "2")
        for _ in range(600):
            if not re.search("Queued|Running", project.dvc("queue", "status")):
                return project
            time.sleep(0.5)
        raise AssertionError(project.dvc("queue", "status"))

    return built_once("experimented", build, tmp_path_factory)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on the PATH (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        options = [f"--host-resolver-rules=MAP {NAME} 127.0.0.1"]
        if os.geteuid() == 0:
            options.append("--no-sandbox")
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield running
        running.close()
