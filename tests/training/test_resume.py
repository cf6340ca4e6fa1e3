"""A training run that is killed resumes after its last finished epoch, with the same result."""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.full_disk import limit_file_size
from helpers.networks import trunk_of
from helpers.project import Project, copy_of
from helpers.training_runs import COLOURS, train_in

from marketplace.compute.user_cache import UNUSED_SECONDS, keep, user_cache
from marketplace.models.checkpoints import Checkpoint, save
from marketplace.settings import Settings
from marketplace.training import resume
from marketplace.training.data import TrainingData
from marketplace.training.recorder import Recorder
from marketplace.training.settings import TrainSettings
from marketplace.training.trainer import train

EPOCHS = 4


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def train_settings(settings: Settings) -> TrainSettings:
    changes: dict[str, Any] = {"schedule": "one_cycle", "patience": None}
    changes |= {"classifier": "linear", "contrastive_weight": 0.5, "leaf_weight": 0.5}
    return settings.train.model_copy(update=changes)


class KillSignal(BaseException):
    """A stand-in for a kill: nothing but `finally` runs after it."""


class KillingRecorder(Recorder):
    """Ends the run in the middle of an epoch."""

    last_epoch: int

    def record_epoch(self, epoch: int, figures: dict[str, float]) -> None:
        if epoch > self.last_epoch:
            raise KillSignal
        super().record_epoch(epoch, figures)


def run_and_kill(start: Checkpoint, data: TrainingData, settings: TrainSettings, folder: Path, after: int) -> None:
    recorder = KillingRecorder(folder / "metrics", folder / "logs", folder / "epochs")
    recorder.last_epoch = after
    with pytest.raises(KillSignal), recorder:
        train(start, trunk_of(start, data.images.shape[1]), data, settings, EPOCHS, recorder)


def read_outputs(folder: Path, best: Checkpoint) -> dict[str, bytes]:
    """All files that a training run leaves, except TensorBoard's logs, which hold times and are no output."""
    save(folder / "best.pt", best)
    files = [path for path in folder.rglob("*") if path.is_file() and "logs" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module", params=["constant", "one_cycle"])
def undisturbed(
    request: pytest.FixtureRequest,
    start: Checkpoint,
    data: TrainingData,
    train_settings: TrainSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[TrainSettings, dict[str, bytes]]:
    """Settings with a schedule, and all files that a training run with them leaves."""
    settings = train_settings.model_copy(update={"schedule": request.param})
    folder = tmp_path_factory.mktemp("undisturbed")
    return settings, read_outputs(folder, train_in(start, data, settings, folder, EPOCHS))


@pytest.mark.parametrize("after", [0, 1, 3, EPOCHS])
def test_it_ends_as_an_undisturbed_run_does(
    start: Checkpoint,
    data: TrainingData,
    undisturbed: tuple[TrainSettings, dict[str, bytes]],
    tmp_path: Path,
    after: int,
) -> None:
    settings, expected = undisturbed
    if after < EPOCHS:
        run_and_kill(start, data, settings, tmp_path / "run", after)
    assert [path.name for path in user_cache("trainings").rglob("state.pt")] == ["state.pt"] * (0 < after < EPOCHS)
    assert read_outputs(tmp_path / "run", train_in(start, data, settings, tmp_path / "run", EPOCHS)) == expected
    assert not list(user_cache("trainings").iterdir())


def test_only_lost_epochs_are_trained_again(
    start: Checkpoint,
    data: TrainingData,
    train_settings: TrainSettings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run_and_kill(start, data, train_settings, tmp_path, after=2)
    caplog.set_level("INFO")
    caplog.clear()
    train_in(start, data, train_settings, tmp_path, EPOCHS)
    assert "resuming an interrupted training run after epoch 2" in caplog.text
    epochs = [message.split(":")[0] for message in caplog.messages if message.startswith("epoch ")]
    assert epochs == ["epoch 3/4", "epoch 4/4"]


def test_no_other_run_finds_the_state(
    start: Checkpoint,
    data: TrainingData,
    train_settings: TrainSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run_and_kill(start, data, train_settings, tmp_path, after=2)
    changed_bias = {"head.imagenet.bias": start["state_dict"]["head.imagenet.bias"] + 1}
    changed_start: Checkpoint = {**start, "state_dict": {**start["state_dict"], **changed_bias}}
    changed_labels = data.train._replace(labels=torch.flip(data.train.labels, (0,)))
    changed_runs = [
        (start, data, train_settings.model_copy(update={"lr": 5e-3})),
        (start, data, train_settings.model_copy(update={"seed": 5})),
        (start, replace(data, images=data.images[:] + np.uint8(1)), train_settings),
        (start, replace(data, train=changed_labels), train_settings),
        (start, replace(data, categories=[*COLOURS[:2], "azure"]), train_settings),
        (changed_start, data, train_settings),
    ]
    caplog.set_level("INFO")
    for index, (checkpoint, training_data, settings) in enumerate(changed_runs):
        run_and_kill(checkpoint, training_data, settings, tmp_path / str(index), after=1)
    monkeypatch.setattr(resume, "_hash_code", lambda: "an edited loop")
    run_and_kill(start, data, train_settings, tmp_path / "code", after=1)
    assert "resuming" not in caplog.text
    assert len(list(user_cache("trainings").iterdir())) == len(changed_runs) + 2


def test_a_damaged_state_is_never_resumed(
    start: Checkpoint,
    data: TrainingData,
    undisturbed: tuple[TrainSettings, dict[str, bytes]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings, expected = undisturbed
    run_and_kill(start, data, settings, tmp_path / "run", after=2)
    (state,) = user_cache("trainings").rglob("state.pt")
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 64  # in a tensor, which PyTorch reads all the same
    state.write_bytes(content)
    assert read_outputs(tmp_path / "run", train_in(start, data, settings, tmp_path / "run", EPOCHS)) == expected
    assert f"{state} is damaged" in caplog.text


def test_an_abandoned_state_is_deleted(
    start: Checkpoint, data: TrainingData, train_settings: TrainSettings, tmp_path: Path
) -> None:
    old = user_cache("trainings") / "of-last-month"
    old.mkdir()
    os.utime(old, (time.time() - 2 * UNUSED_SECONDS,) * 2)
    train_in(start, data, train_settings, tmp_path, EPOCHS)
    assert not list(user_cache("trainings").iterdir())


def test_training_goes_on_without_resume_state_if_the_disk_is_full(
    start: Checkpoint,
    data: TrainingData,
    train_settings: TrainSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def keep_on_full_disk(*args: Any, **kwargs: Any) -> bool:
        with limit_file_size(2**20):
            return keep(*args, **kwargs)

    undisturbed = train_in(start, data, train_settings, tmp_path / "a", EPOCHS)
    with monkeypatch.context() as patch:
        patch.setattr("marketplace.training.resume.keep", keep_on_full_disk)
        best = train_in(start, data, train_settings, tmp_path / "b", EPOCHS)
    (warning,) = [message for message in caplog.messages if "cannot hold more (File too large)" in message]
    assert "if training is interrupted now, it starts from the beginning" in warning
    assert not list(user_cache("trainings").iterdir())
    assert read_outputs(tmp_path / "b", best) == read_outputs(tmp_path / "a", undisturbed)


def test_early_stopping_counts_the_epochs_before_the_kill(
    start: Checkpoint, data: TrainingData, train_settings: TrainSettings, tmp_path: Path
) -> None:
    settings = train_settings.model_copy(update={"patience": 2, "lr": 1e-9})  # nothing improves
    undisturbed = train_in(start, data, settings, tmp_path / "a", EPOCHS)
    run_and_kill(start, data, settings, tmp_path / "b", after=2)
    resumed = train_in(start, data, settings, tmp_path / "b", EPOCHS)
    assert read_outputs(tmp_path / "b", resumed) == read_outputs(tmp_path / "a", undisturbed)


def count_saved_epochs() -> dict[str, int]:
    """The number of saved epochs of each unfinished training run."""
    counts = {}
    for folder in user_cache("trainings").iterdir():
        with contextlib.suppress(FileNotFoundError):  # not yet there, or gone by now
            counts[folder.name] = len(torch.load(folder / "state.pt", weights_only=True)["history"])
    return counts


def kill_when(project: Project, is_ready: Callable[[dict[str, int]], bool], *command: str) -> None:
    """Start a command in the project; kill it and its children a random while after its saved epochs are ready."""
    process = subprocess.Popen(
        command,
        cwd=project.folder,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not is_ready(count_saved_epochs()):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    time.sleep(random.uniform(0, 0.2))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_dvc_repro_after_kill_nine_gives_the_same_hashes(killed_project: Project) -> None:
    project = killed_project
    undisturbed = project.out_hashes()
    # An edit that changes no result, so that DVC's run cache has none either.
    with (project.folder / "src/marketplace/training/data.py").open("a") as file:
        file.write("\n# a comment\n")
    project.run("git", "commit", "-qam", "edit")
    command = ("dvc", "repro", "train_full")
    # Twice in one training run, and once in the next.
    kill_when(project, lambda counts: max(counts.values(), default=0) >= 2, *command)
    kill_when(project, lambda counts: max(counts.values(), default=0) >= 4, *command)
    (small,) = count_saved_epochs()
    kill_when(project, lambda counts: any(counts[name] >= 3 for name in counts.keys() - {small}), *command)
    output = project.dvc("repro", "train_full")
    assert "resuming an interrupted training run after epoch" in output
    assert project.out_hashes() == undisturbed
    assert not count_saved_epochs()


@pytest.fixture(scope="module")
def killed_project(reproduced: Project, make_project: Callable[..., Project]) -> Project:
    """A project with training runs long enough to be killed; its outputs are from an undisturbed run."""
    project = copy_of(reproduced, make_project(**{"train_small.epochs": 9, "train_full.epochs": 9}))
    project.dvc("repro", "train_full")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "undisturbed")
    return project
