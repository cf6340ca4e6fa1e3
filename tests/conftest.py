"""What tests share: a small drawn dump, the real listings where they are, and copies of this project to run DVC in."""

import copy
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from servers import S3Server, SshServer, generate_key, ssh_server

from marketplace.checkpoints import Checkpoint, checkpoint_of
from marketplace.dataset import Split, TrainingData
from marketplace.fetch import fetch
from marketplace.networks import pretrained_network
from marketplace.recording import Recorder
from marketplace.settings import Settings, TrainSettings, load_settings
from marketplace.shards import read_shard, shard_paths
from marketplace.sources.sample import SampleDump
from marketplace.sources.ssh import PASSPHRASE
from marketplace.training import train

ROOT = Path(__file__).parents[1]
LISTINGS = Path(os.environ.get("MARKETPLACE_LISTINGS", ROOT.parent / "shared" / "listings"))

STAGES = [
    "fetch",
    "clean",
    "resize_images",
    "pretrained",
    "train_small",
    "train_full",
    "extract",
    "evaluate",
    "recommend",
]

# Small enough for a test, large enough for 13 categories in three splits each.
TINY = {
    "fetch.shards": 3,
    "fetch.sample.products": 65,
    "resize_images.small": 32,
    "resize_images.full": 48,
    "train.epochs": 2,
    "train.seed": 1,
}


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["MARKETPLACE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


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
def sample(settings: Settings) -> SampleDump:
    """A drawn dump of some 250 photos, with all kinds of defects."""
    return SampleDump(settings.fetch.sample.model_copy(update={"products": 130, "defect_rate": 0.01}))


@pytest.fixture(scope="session")
def raw(sample: SampleDump, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That dump, fetched."""
    target = tmp_path_factory.mktemp("raw")
    fetch(sample, target, n_shards=4, limit=None)
    return target


def unpack(raw: Path, folder: Path) -> Path:
    """Lay a fetched dump out as marketplaces do: loose files in images/."""
    (folder / "images").mkdir(parents=True)
    for table in ("products.csv", "images.csv"):
        shutil.copy(raw / table, folder / table)
    for shard in shard_paths(raw / "images"):
        for name, content in read_shard(shard):
            (folder / "images" / name).write_bytes(content)
    return folder


def content_of(target: Path) -> dict[str, bytes]:
    return {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}


KEYS = {
    "id_ed25519": ("ed25519", ""),
    "id_ecdsa": ("ecdsa", ""),
    "id_rsa": ("rsa", ""),
    "locked": ("ed25519", "open sesame"),
}


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("weed"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def keys(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Private keys by name, each in the bucket `keys`; the folder of their public halves is under the name ''."""
    folder = tmp_path_factory.mktemp("keys")
    texts = {name: generate_key(folder / name, *how) for name, how in KEYS.items()}
    s3.upload("keys", {name: text.encode() for name, text in texts.items()} | {"page": b"<html>no key</html>"})
    s3.refuse_strangers("keys")
    return {**texts, "": str(folder)}


@pytest.fixture(scope="session")
def server(raw: Path, keys: dict[str, str]) -> Iterator[SshServer]:
    """An SSH server that holds the sample dump in ./dump and lets all the keys in. Tests leave the dump as it was."""
    with ssh_server() as running:
        unpack(raw, running.folder / "dump")
        for name in KEYS:
            running.authorize(Path(keys[""]) / f"{name}.pub")
        running.own()
        yield running


@pytest.fixture
def aws(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of somebody who may use the S3 server, and has fetched nothing yet."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", PASSPHRASE):
        monkeypatch.delenv(name, raising=False)
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def own_dump(server: SshServer, raw: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the dump on the server that a test may change."""
    folder = unpack(raw, server.folder / f"own-{tmp_path.name}")
    server.own()
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)


# The command of the copy at hand, not of the project that the tests run in.
COMMAND = "import sys; sys.path.insert(0, 'src'); from marketplace.cli import main; main()"

COLOURS = ["red", "green", "blue"]


@pytest.fixture(scope="session")
def start() -> Checkpoint:
    torch.manual_seed(0)
    network = pretrained_network("efficientnet_lite0", "IMAGENET1K_V1")
    checkpoint = checkpoint_of(network, weights="IMAGENET1K_V1", size=0, categories=[], epoch=0, figures={})
    state = checkpoint["state_dict"]
    checkpoint["state_dict"] = {name: state[name] for name in state if "categories" not in name}
    return checkpoint


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
        Split(chosen, labels[chosen], torch.arange(len(chosen)) // 2) for chosen in (train_rows, val_rows)
    )
    return TrainingData(images.astype(np.uint8), train_split, val_split, COLOURS)


def train_in(start: Checkpoint, data: TrainingData, settings: TrainSettings, folder: Path) -> Checkpoint:
    """Train, and record in metrics/, logs/ and epochs/ of a folder."""
    with Recorder(folder / "metrics", folder / "logs", folder / "epochs") as recorder:
        return train(start, data, settings, recorder)


def ran(output: str) -> list[str]:
    """The stages that a `dvc repro` or `dvc exp run` really ran."""
    return re.findall(r"Running stage '(\w+)'", output)


class Project:
    """A copy of this project, as it stands, in a Git repository of its own."""

    def __init__(self, folder: Path, **params: object) -> None:
        self.folder = folder
        listed = subprocess.check_output(["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, text=True)
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        (folder / "dvc.lock").unlink(missing_ok=True)
        self.set(**{**TINY, **params})
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
            self.run("git", *command)

    def set(self, **params: object) -> None:
        """Change parameters, given as `section.key`."""
        path = self.folder / "params.yaml"
        values = yaml.safe_load(path.read_text())
        for key, value in params.items():
            *sections, last = key.split(".")
            section = values
            for name in sections:
                section = section[name]
            section[last] = value
        path.write_text(yaml.safe_dump(values))

    def clone(self, folder: Path) -> "Project":
        """What a colleague gets: a Git clone of what is committed, without data."""
        self.run("git", "clone", "-q", ".", str(folder))
        theirs = copy.copy(self)
        theirs.folder = folder
        return theirs

    def restore(self) -> None:
        """Take everything back that is not committed."""
        self.run("git", "checkout", "-q", ".")
        self.dvc("checkout", "-q")

    def marketplace(self, *arguments: str, code: int | None = 0) -> str:
        """Run the project's own command."""
        return self.run("python", "-c", COMMAND, *arguments, code=code)

    def experiment(self, name: str) -> str:
        """The commit of an experiment."""
        refs = self.run("git", "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps")
        (commit,) = re.findall(rf"^(\w+) \S+/{name}$", refs, re.MULTILINE)
        return str(commit)

    def environment(self) -> dict[str, str]:
        """This environment, with this Python's programs first."""
        programs = str(Path(sys.executable).parent)
        identity = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        return {**os.environ, **identity, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}

    def run(self, *command: str, code: int | None = 0) -> str:
        """Run a command in the project and give its output, both streams; fail unless it exits with `code`."""
        environment = self.environment()
        done = subprocess.run(  # both streams in one, in the order in which a user sees them
            command, cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert code is None or done.returncode == code, f"{command} exited with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def dvc(self, *arguments: str, code: int | None = 0) -> str:
        """Run dvc."""
        return self.run("dvc", *arguments, code=code)

    def stages(self) -> dict[str, dict[str, list[str | dict[str, object]]]]:
        """The stages of dvc.yaml."""
        stages: dict[str, dict[str, list[str | dict[str, object]]]]
        stages = yaml.safe_load((self.folder / "dvc.yaml").read_text())["stages"]
        return stages

    def out_hashes(self) -> dict[str, str]:
        """The hash of every output in dvc.lock."""
        lock = yaml.safe_load((self.folder / "dvc.lock").read_text())
        return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage.get("outs", [])}


@pytest.fixture(scope="session")
def make_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Project]:
    """Make a copy of this project with tiny parameters and the given changes."""

    def make(**params: object) -> Project:
        return Project(tmp_path_factory.mktemp("project"), **params)

    return make


def copy_of(reproduced: Project, project: Project) -> Project:
    for name in (".dvc/cache", "dvc.lock", "metrics"):
        subprocess.run(["cp", "-r", reproduced.folder / name, (project.folder / name).parent], check=True)
    project.dvc("checkout")
    return project


@pytest.fixture
def copy_of_reproduced(reproduced: Project, make_project: Callable[..., Project]) -> Project:
    """Another copy with the same outputs in place, to do with as one likes."""
    return copy_of(reproduced, make_project())


@pytest.fixture(scope="session")
def experimented(reproduced: Project, make_project: Callable[..., Project]) -> Project:
    """Another copy, committed on `main`, with experiments: `several`, `rate`, and two of a sweep that was queued.

    Tests that share it leave `main` and the working tree as they found them.
    """
    project = copy_of(reproduced, make_project())
    for command in (["branch", "-M", "main"], ["add", "-A"], ["commit", "-qm", "reproduced"]):
        project.run("git", *command)
    project.dvc("exp", "run", "--queue", "-n", "several", "-S", "recommend.k=8", "-S", "recommend.same_category=true")
    project.dvc("exp", "run", "--temp", "-n", "rate", "-S", "train.lr=1e-5")
    project.dvc("exp", "run", "--queue", "-S", "recommend.price_factor=1.5,2.5")
    project.dvc("queue", "start", "--jobs", "2")
    for _ in range(600):
        if not re.search("Queued|Running", project.dvc("queue", "status")):
            return project
        time.sleep(0.5)
    raise AssertionError(project.dvc("queue", "status"))


@pytest.fixture(scope="session")
def reproduced(make_project: Callable[..., Project]) -> Project:
    """A copy of this project in which `dvc repro` has run. Tests that share it leave it as they found it."""
    project = make_project()
    project.dvc("repro")
    return project
