"""The training loop, against the same loop written plainly."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.training_runs import COLOURS, train_in
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn import functional as F

from marketplace.common.errors import MarketplaceError
from marketplace.compute.user_cache import ROOM_VARIABLE, user_cache
from marketplace.models.checkpoints import Checkpoint, network_of
from marketplace.settings import Settings
from marketplace.training.data import Split, TrainingData
from marketplace.training.settings import TrainSettings


@pytest.fixture
def train_settings(settings: Settings) -> TrainSettings:
    """The settings of a plain fine-tuning loop, see benchmarks/reference_loop.py."""
    changes = {
        "batch_size": 16,
        "lr": 1e-3,
        "schedule": "constant",
        "patience": None,
        "classifier": "linear",
        "leaf_weight": 0.0,
        "contrastive_weight": 0.0,
    }
    return settings.train.model_copy(update=changes)


def test_training_learns_and_leaves_the_trunk_bit_for_bit_as_it_was(
    start: Checkpoint, data: TrainingData, train_settings: TrainSettings, tmp_path: Path
) -> None:
    best = train_in(start, data, train_settings, tmp_path, epochs=10)
    assert best["figures"]["val_accuracy"] > 0.8
    moved = set()
    for name, before in start["state_dict"].items():
        if name.startswith("trunk."):
            assert torch.equal(before, best["state_dict"][name]), name
        elif not torch.equal(before, best["state_dict"][name]):
            moved.add(name)
    assert {name.partition(".")[0] for name in moved} == {"tail", "head"}
    assert any("running_mean" in name for name in moved)
    assert any(name.startswith("head.imagenet") for name in moved)


def test_the_recorded_figures_are_those_of_the_returned_weights(
    start: Checkpoint, data: TrainingData, train_settings: TrainSettings, tmp_path: Path
) -> None:
    best = train_in(start, data, train_settings, tmp_path)
    # The reference is the whole network on the pixels, one image at a time.
    network = network_of(best, n_categories=3)
    with torch.inference_mode():
        logits = torch.cat([network(network.pixels(data.images[[row]])) for row in data.val.rows])
    assert best["figures"]["val_loss"] == pytest.approx(F.cross_entropy(logits, data.val.labels).item(), rel=2e-3)
    assert best["figures"]["val_accuracy"] == (logits.argmax(1) == data.val.labels).double().mean().item()

    recorded = json.loads((tmp_path / "metrics" / "metrics.json").read_text())
    assert recorded["best"] == {"epoch": best["epoch"], **best["figures"]}
    assert recorded["step"] == 3
    epochs = pd.read_csv(tmp_path / "epochs" / "epochs.csv")
    assert epochs["epoch"][epochs["chosen"]].tolist() == [best["epoch"]]
    assert best["figures"]["val_accuracy"] == epochs["val_accuracy"].max()
    curves = pd.read_json(tmp_path / "metrics" / "epochs.json", precise_float=True)
    for split, quantity in (("train", "loss"), ("val", "loss"), ("val", "accuracy")):
        values = epochs[f"{split}_{quantity}"]
        np.testing.assert_array_equal(curves[f"{split}_{quantity}"], values)
        events = EventAccumulator(str(tmp_path / "logs" / split)).Reload()
        np.testing.assert_allclose([event.value for event in events.Scalars(quantity)], values, rtol=1e-6)


def test_the_same_seed_gives_the_same_weights_and_another_seed_different_ones(
    start: Checkpoint, data: TrainingData, train_settings: TrainSettings, tmp_path: Path
) -> None:
    first = train_in(start, data, train_settings, tmp_path / "first")["state_dict"]
    second = train_in(start, data, train_settings, tmp_path / "second")["state_dict"]
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    reseeded = train_settings.model_copy(update={"seed": 7})
    third = train_in(start, data, reseeded, tmp_path / "third")["state_dict"]
    assert not torch.equal(first["head.categories.weight"], third["head.categories.weight"])


def test_without_a_feature_store_the_results_are_the_same(
    start: Checkpoint,
    data: TrainingData,
    train_settings: TrainSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = train_settings.model_copy(update={"flip_probability": 0.5})
    stored = train_in(start, data, settings, tmp_path / "stored", epochs=1)
    monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(ROOM_VARIABLE, "0")
    live = train_in(start, data, settings, tmp_path / "live", epochs=1)
    assert live["figures"] == stored["figures"]


def test_the_first_epoch_is_that_of_a_plain_loop(
    start: Checkpoint, data: TrainingData, train_settings: TrainSettings, tmp_path: Path
) -> None:
    """The plain loop runs the whole network on the pixels: nothing is stored, and nothing is cut in parts."""
    settings = train_settings.model_copy(update={"flip_probability": 0.4})
    best = train_in(start, data, settings, tmp_path, epochs=1)
    torch.manual_seed(settings.seed)
    network = network_of(start, n_categories=3).train()
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(trainable, lr=settings.lr)
    rng = np.random.default_rng([settings.seed, 1])
    order = rng.permutation(len(data.train.rows))
    flips = rng.random(len(order)) < settings.flip_probability
    losses = []
    for first in range(0, len(order), settings.batch_size):
        batch = order[first : first + settings.batch_size]
        pixels = network.pixels(data.images[data.train.rows[batch]])
        is_flipped = torch.from_numpy(flips[batch])[:, None, None, None]
        pixels = torch.where(is_flipped, pixels.flip(3), pixels)
        loss = F.cross_entropy(network(pixels), data.train.labels[batch], reduction="none")
        optimiser.zero_grad()
        loss.mean().backward()
        optimiser.step()
        losses += loss.tolist()
    assert best["figures"]["train_loss"] == pytest.approx(np.mean(losses), rel=1e-2)


def test_a_warm_start_begins_where_the_earlier_run_ended(
    start: Checkpoint, data: TrainingData, train_settings: TrainSettings, tmp_path: Path
) -> None:
    frozen = train_settings.model_copy(update={"lr": 1e-9})  # too slow to move a weight
    small = train_in(start, data, train_settings, tmp_path / "small")
    warm = train_in(small, data, frozen, tmp_path / "warm", epochs=1)["state_dict"]
    cold = train_in(start, data, frozen, tmp_path / "cold", epochs=1)["state_dict"]
    for name in ("head.categories.weight", "head.imagenet.weight", "tail.conv_head.weight"):
        torch.testing.assert_close(warm[name], small["state_dict"][name], rtol=0, atol=1e-6)
    name = "head.imagenet.weight"
    torch.testing.assert_close(cold[name], start["state_dict"][name], rtol=0, atol=1e-6)


def test_a_loss_that_is_not_finite_ends_the_run_in_a_sentence_and_leaves_nothing(
    start: Checkpoint, data: TrainingData, train_settings: TrainSettings, tmp_path: Path
) -> None:
    infinite_logits = {**start["state_dict"], "head.imagenet.bias": torch.full((1000,), float("inf"))}
    broken: Checkpoint = {**start, "state_dict": infinite_logits}
    with pytest.raises(MarketplaceError, match=r"loss became nan in epoch 1: lower train\.lr \(now 0\.001\)"):
        train_in(broken, data, train_settings, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]
    assert not list(user_cache("trainings").iterdir())


def test_unusable_training_data_is_refused_before_anything_is_computed(
    start: Checkpoint, data: TrainingData, train_settings: TrainSettings, tmp_path: Path
) -> None:
    nothing = torch.empty(0, dtype=torch.int64)
    empty = Split(rows=nothing.numpy(), labels=nothing, products=nothing, leaves=nothing)
    cases = [
        (data, {"batch_size": 41}, r"train\.batch_size = 41 is more than the 40 photos of the training split"),
        (replace(data, categories=[*COLOURS, "violet", "pink"]), {}, "training split has no photos of violet, pink: "),
        (replace(data, categories=["red"]), {}, "nothing to classify"),
        (replace(data, train=empty), {}, "the training split has no photos"),
        (replace(data, val=empty), {}, "the validation split has no photos"),
    ]
    for unusable, changes, message in cases:
        with pytest.raises(MarketplaceError, match=message):
            train_in(start, unusable, train_settings.model_copy(update=changes), tmp_path)
    train_in(start, data, train_settings.model_copy(update={"batch_size": 40}), tmp_path, epochs=1)


def test_bfloat16_learns_nearly_the_same(
    start: Checkpoint,
    data: TrainingData,
    train_settings: TrainSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("marketplace.training.trainer.has_bfloat16", lambda: True)  # slow, but right, where it is not
    exact = train_in(start, data, train_settings, tmp_path / "float32", epochs=1)["figures"]
    rounded = train_settings.model_copy(update={"precision": "bfloat16"})
    figures = train_in(start, data, rounded, tmp_path / "bfloat16", epochs=1)["figures"]
    assert figures["train_loss"] == pytest.approx(exact["train_loss"], rel=0.05)
    assert figures["train_loss"] != exact["train_loss"]


def test_bfloat16_is_refused_where_the_processor_has_to_imitate_it(
    start: Checkpoint,
    data: TrainingData,
    train_settings: TrainSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("marketplace.training.trainer.has_bfloat16", lambda: False)
    rounded = train_settings.model_copy(update={"precision": "bfloat16"})
    with pytest.raises(MarketplaceError, match=r"train\.precision = bfloat16 needs a processor with AVX512-BF16"):
        train_in(start, data, rounded, tmp_path)


def test_early_stopping_waits_for_the_given_number_of_epochs(
    start: Checkpoint, data: TrainingData, train_settings: TrainSettings, tmp_path: Path
) -> None:
    impatient = train_settings.model_copy(update={"patience": 3})
    best = train_in(start, data, impatient, tmp_path, epochs=30)
    history = pd.read_csv(tmp_path / "epochs" / "epochs.csv")
    assert len(history) < 30
    assert len(history) == best["epoch"] + 3
    patient = train_settings.model_copy(update={"patience": None})
    without_stopping = train_in(start, data, patient, tmp_path, epochs=len(history))
    assert without_stopping["figures"] == best["figures"]


def test_one_cycle_raises_the_learning_rate_to_the_given_one_and_lowers_it_to_nothing(
    start: Checkpoint,
    data: TrainingData,
    train_settings: TrainSettings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    rates: list[float] = []
    step = torch.optim.Adam.step

    def step_and_note_the_rate(self: torch.optim.Adam, *arguments: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", step_and_note_the_rate)
    train_in(start, data, train_settings.model_copy(update={"schedule": "constant", "lr": 3e-3}), tmp_path)
    assert rates == [3e-3] * 9  # three batches an epoch

    rates.clear()
    train_in(start, data, train_settings.model_copy(update={"schedule": "one_cycle", "lr": 3e-3}), tmp_path)
    top = int(np.argmax(rates))
    assert max(rates) == pytest.approx(3e-3, rel=0.05)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 1e-6
