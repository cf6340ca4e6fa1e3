import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.training_runs import COLOURS, train_in
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn import functional as F

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import user_cache
from marketplace.compute.packs import ROOM_VARIABLE
from marketplace.models.checkpoints import Checkpoint, network_of
from marketplace.settings import Settings
from marketplace.training.data import Split, TrainingData, cut_into_batches, read_training_data
from marketplace.training.settings import TrainSettings
from marketplace.training.validation import prefers, validate


@pytest.fixture
def train_settings(settings: Settings) -> TrainSettings:
    """The loop as described (see benchmarks/reference_loop.py), but short."""
    described = {
        "batch_size": 16,
        "lr": 1e-3,
        "schedule": "constant",
        "patience": None,
        "classifier": "linear",
        "leaf_weight": 0.0,
        "contrastive_weight": 0.0,
    }
    return settings.train.model_copy(update=described)


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
    # Another way: the whole network on the pixels, one image at a time.
    network = network_of(best, 3)
    with torch.inference_mode():
        logits = torch.cat([network(network.pixels(data.images[[row]])) for row in data.val.rows])
    assert best["figures"]["val_loss"] == pytest.approx(F.cross_entropy(logits, data.val.labels).item(), rel=2e-3)
    assert best["figures"]["val_accuracy"] == (logits.argmax(1) == data.val.labels).double().mean().item()

    recorded = json.loads((tmp_path / "metrics" / "metrics.json").read_text())
    assert recorded["best"] == {"epoch": best["epoch"], **best["figures"]}
    assert recorded["step"] == 3
    epochs = pd.read_csv(tmp_path / "epochs" / "epochs.csv")
    chosen = epochs[epochs["chosen"]]
    assert chosen["epoch"].tolist() == [best["epoch"]]
    assert best["figures"]["val_accuracy"] == epochs["val_accuracy"].max()
    curves = pd.read_json(tmp_path / "metrics" / "epochs.json", precise_float=True)
    for name in ("train/loss", "val/loss", "val/accuracy"):
        np.testing.assert_array_equal(curves[name.replace("/", "_")], epochs[name.replace("/", "_")])
        split, _, quantity = name.partition("/")
        events = EventAccumulator(str(tmp_path / "logs" / split)).Reload()
        np.testing.assert_allclose(
            [event.value for event in events.Scalars(quantity)], epochs[name.replace("/", "_")], rtol=1e-6
        )


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    start: Checkpoint, data: TrainingData, train_settings: TrainSettings, tmp_path: Path
) -> None:
    first, second = (train_in(start, data, train_settings, tmp_path / name) for name in "ab")
    assert all(torch.equal(value, second["state_dict"][name]) for name, value in first["state_dict"].items())
    other = train_in(start, data, train_settings.model_copy(update={"seed": 7}), tmp_path / "c")
    assert not torch.equal(first["state_dict"]["head.categories.weight"], other["state_dict"]["head.categories.weight"])


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


def test_the_first_epoch_is_the_loop_as_one_would_write_it(
    start: Checkpoint, data: TrainingData, train_settings: TrainSettings, tmp_path: Path
) -> None:
    """Cross-entropy, Adam and flips on the whole network from the pixels, without features, stores or splits of it."""
    settings = train_settings.model_copy(update={"flip_probability": 0.4})
    best = train_in(start, data, settings, tmp_path, epochs=1)
    torch.manual_seed(settings.seed)
    network = network_of(start, 3).train()
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=settings.lr)
    rng = np.random.default_rng([settings.seed, 1])
    order = rng.permutation(len(data.train.rows))
    flips = rng.random(len(order)) < settings.flip_probability
    losses = []
    for begin in range(0, len(order), settings.batch_size):
        batch = order[begin : begin + settings.batch_size]
        pixels = network.pixels(data.images[data.train.rows[batch]])
        pixels = torch.where(torch.from_numpy(flips[batch])[:, None, None, None], pixels.flip(3), pixels)
        loss = F.cross_entropy(network(pixels), data.train.labels[batch], reduction="none")
        optimiser.zero_grad()
        loss.mean().backward()
        optimiser.step()
        losses += loss.tolist()
    assert best["figures"]["train_loss"] == pytest.approx(np.mean(losses), rel=1e-2)


def test_a_warm_start_begins_where_the_other_training_ended(
    start: Checkpoint, data: TrainingData, train_settings: TrainSettings, tmp_path: Path
) -> None:
    settings = train_settings.model_copy(update={"lr": 1e-9})  # too slow to move
    small = train_in(start, data, train_settings, tmp_path / "small")
    warm = train_in(small, data, settings, tmp_path / "warm", epochs=1)
    cold = train_in(start, data, settings, tmp_path / "cold", epochs=1)
    for name in ("head.categories.weight", "head.imagenet.weight", "tail.conv_head.weight"):
        torch.testing.assert_close(warm["state_dict"][name], small["state_dict"][name], rtol=0, atol=1e-6)
    torch.testing.assert_close(
        cold["state_dict"]["head.imagenet.weight"], start["state_dict"]["head.imagenet.weight"], rtol=0, atol=1e-6
    )


def test_every_epochs_weights_are_kept_on_request_alone(
    start: Checkpoint, data: TrainingData, train_settings: TrainSettings, tmp_path: Path
) -> None:
    train_in(start, data, train_settings, tmp_path / "no")
    assert [path.name for path in (tmp_path / "no" / "epochs").iterdir()] == ["epochs.csv"]
    best = train_in(start, data, train_settings.model_copy(update={"keep_epochs": True}), tmp_path / "yes")
    kept = torch.load(tmp_path / "yes" / "epochs" / f"epoch-{best['epoch']:02}.pt", weights_only=True)
    assert all(torch.equal(value, kept[name]) for name, value in best["state_dict"].items())
    assert len(list((tmp_path / "yes" / "epochs").glob("epoch-*.pt"))) == 3


def broken(start: Checkpoint) -> Checkpoint:
    """A network whose logits are infinite."""
    state = {**start["state_dict"], "head.imagenet.bias": torch.full((1000,), float("inf"))}
    return {**start, "state_dict": state}


def test_a_loss_that_is_not_finite_ends_the_run_in_a_sentence_and_leaves_nothing(
    start: Checkpoint, data: TrainingData, train_settings: TrainSettings, tmp_path: Path
) -> None:
    with pytest.raises(MarketplaceError, match=r"loss became nan in epoch 1: lower train\.lr \(now 0\.001\)"):
        train_in(broken(start), data, train_settings, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]
    assert not list(user_cache("trainings").iterdir())


def test_what_cannot_be_learned_from_is_refused_before_anything_is_computed(
    start: Checkpoint, data: TrainingData, train_settings: TrainSettings, tmp_path: Path
) -> None:
    empty = torch.empty(0, dtype=torch.int64)
    nothing = Split(empty.numpy(), empty, empty, empty)
    cases = [
        (data, {"batch_size": 41}, r"train\.batch_size = 41 is more than the 40 photos of the training split"),
        (replace(data, categories=[*COLOURS, "violet", "pink"]), {}, "training split has no photos of violet, pink: "),
        (replace(data, categories=["red"]), {}, "nothing to classify"),
        (replace(data, train=nothing), {}, "the training split has no photos"),
        (replace(data, val=nothing), {}, "the validation split has no photos"),
    ]
    for refused, changes, message in cases:
        with pytest.raises(MarketplaceError, match=message):
            train_in(start, refused, train_settings.model_copy(update=changes), tmp_path)
    train_in(start, data, train_settings.model_copy(update={"batch_size": 40}), tmp_path, epochs=1)


def test_early_stopping_waits_for_as_many_epochs_as_it_is_told(
    start: Checkpoint, data: TrainingData, train_settings: TrainSettings, tmp_path: Path
) -> None:
    settings = train_settings.model_copy(update={"patience": 3})
    best = train_in(start, data, settings, tmp_path, epochs=30)
    history = pd.read_csv(tmp_path / "epochs" / "epochs.csv")
    assert len(history) < 30
    assert len(history) == best["epoch"] + 3
    patient = settings.model_copy(update={"patience": None})
    without = train_in(start, data, patient, tmp_path, epochs=len(history))
    assert without["figures"] == best["figures"]


def test_one_cycle_raises_the_rate_to_the_given_one_and_lets_it_fall_to_nothing(
    start: Checkpoint,
    data: TrainingData,
    train_settings: TrainSettings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    rates: dict[str, list[float]] = {"one_cycle": [], "constant": []}
    step = torch.optim.Adam.step
    for schedule, seen in rates.items():

        def noting(self: torch.optim.Adam, *arguments: Any, seen: list[float] = seen) -> Any:
            seen.append(self.param_groups[0]["lr"])
            return step(self, *arguments)

        monkeypatch.setattr(torch.optim.Adam, "step", noting)
        train_in(start, data, train_settings.model_copy(update={"schedule": schedule, "lr": 3e-3}), tmp_path)
    assert rates["constant"] == [3e-3] * 9  # three batches an epoch
    top = int(np.argmax(rates["one_cycle"]))
    assert max(rates["one_cycle"]) == pytest.approx(3e-3, rel=0.05)
    assert sorted(rates["one_cycle"][: top + 1]) == rates["one_cycle"][: top + 1]
    assert sorted(rates["one_cycle"][top:], reverse=True) == rates["one_cycle"][top:]
    assert rates["one_cycle"][-1] < 1e-6


@pytest.mark.parametrize(
    ("select", "new", "old", "preferred"),
    [
        ("val_accuracy", (0.9, 2.0), (0.8, 1.0), True),
        ("val_accuracy", (0.8, 0.9), (0.8, 1.0), True),
        ("val_accuracy", (0.8, 1.0), (0.8, 1.0), False),
        ("val_accuracy", (0.7, 0.1), (0.8, 1.0), False),
        ("val_loss", (0.1, 0.9), (0.8, 1.0), True),
        ("val_loss", (0.9, 1.0), (0.8, 1.0), False),
    ],
)
def test_selection(select: str, new: tuple[float, float], old: tuple[float, float], preferred: bool) -> None:
    figures = [{"val_accuracy": accuracy, "val_loss": loss} for accuracy, loss in (new, old)]
    assert prefers(select, *figures) == preferred


@given(n=st.integers(1, 100), size=st.integers(2, 20))
def test_batches_hold_every_image_once_and_none_alone(n: int, size: int) -> None:
    order = np.random.default_rng(n).permutation(n)
    batches = cut_into_batches(order, size)
    assert np.concatenate(batches).tolist() == order.tolist()
    assert all(1 < len(batch) <= size + 1 for batch in batches) or n == 1


def test_evaluation_is_a_mean_over_images_not_over_batches(start: Checkpoint, data: TrainingData) -> None:
    network = network_of(start, 3)
    rows = np.arange(43)  # a full batch and a short one
    split = Split(rows, torch.arange(43) % 3, torch.arange(43), torch.arange(43))
    images = data.images
    with torch.inference_mode():
        features = network.trunk(network.pixels(images[rows]))
        logits = network.head(network.tail(features))

    def given_features(rows: np.ndarray) -> torch.Tensor:
        return torch.index_select(features, 0, torch.from_numpy(rows))

    loss, accuracy, _ = validate(network, given_features, split)
    assert loss == pytest.approx(F.cross_entropy(logits, split.labels).item(), rel=1e-4)
    assert accuracy == pytest.approx((logits.argmax(1) == split.labels).float().mean().item())


def test_training_data_follows_the_table(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "label": [2, 0, 1, 2],
            "split": ["val", "train", "test", "train"],
            "product_id": ["p", "q", "r", "q"],
            "category_path": ["c / new", "a / x", "b", "c / y"],
        }
    )
    table.to_parquet(tmp_path / "table.parquet")
    for shard, n in enumerate((1, 3)):
        (tmp_path / "images").mkdir(exist_ok=True)
        np.save(tmp_path / f"images/{shard:03}.npy", np.zeros((n, 32, 32, 3), np.uint8))
    data = read_training_data(tmp_path / "images", tmp_path / "table.parquet", COLOURS)
    assert data.images.shape == (4, 32, 32, 3)
    assert (data.train.rows.tolist(), data.train.labels.tolist()) == ([1, 3], [0, 2])
    assert (data.val.rows.tolist(), data.val.labels.tolist()) == ([0], [2])
    assert data.train.products.tolist() == [0, 0]
    assert (data.leaves, data.train.leaves.tolist(), data.val.leaves.tolist()) == (["a / x", "c / y"], [0, 1], [-1])
