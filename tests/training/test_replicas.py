"""Logical replicas of a batch: what they compute, and that it does not matter how many processes do."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.project import Project
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import sha256_of
from marketplace.training.replicas import ALONE, Replicas, joined_team


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4, 5))


class LossOf:
    """The loss of a network on random images with random labels."""

    def __init__(self, network: nn.Module) -> None:
        rng = torch.Generator().manual_seed(1)
        self._network = network
        self._images = torch.randn(40, 3, 4, 4, generator=rng)
        self._labels = torch.randint(0, 5, (40,), generator=rng)

    def __call__(self, places: np.ndarray) -> Tensor:
        return F.cross_entropy(self._network(self._images[places]), self._labels[places])


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 6), photos=st.integers(2, 40))
def test_a_step_is_the_weighted_mean_of_steps_on_each_replica_alone(n: int, photos: int) -> None:
    network, batch = small_network(), np.arange(photos)
    parts = np.array_split(batch, max(1, min(n, photos // 2)))
    expected_loss, gradients, means = 0.0, [torch.zeros_like(value) for value in network.parameters()], torch.zeros(4)
    for part in parts:
        alone, weight = copy.deepcopy(network), len(part) / photos
        loss = LossOf(alone)(part)
        loss.backward()
        expected_loss += weight * loss.item()
        for total, parameter in zip(gradients, alone.parameters(), strict=True):
            assert parameter.grad is not None
            total += weight * parameter.grad
        means += weight * alone.get_buffer("1.running_mean")
    loss = Replicas(network, n, ALONE).backward(batch, LossOf(network))
    assert loss.item() == pytest.approx(expected_loss, rel=1e-5)
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(network.get_buffer("1.running_mean"), means)
    assert network.get_buffer("1.num_batches_tracked").item() == 1


def test_one_replica_is_an_ordinary_step_bit_for_bit() -> None:
    plain, network, batch = small_network(), small_network(), np.arange(32)
    LossOf(plain)(batch).backward()
    Replicas(network, 1, ALONE).backward(batch, LossOf(network))
    for one, other in zip(plain.parameters(), network.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, network.state_dict()[name])


def test_replicas_that_cannot_be_shared_out_evenly_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    says = r"train\.replicas = 1 cannot be shared out evenly among 2 processes: set it to a multiple of 2"
    with pytest.raises(MarketplaceError, match=says), joined_team(1):
        pass


def test_two_processes_and_one_give_the_same_bytes(
    copy_of_reproduced: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copy_of_reproduced
    project.set(**{"train.replicas": 2, "train.batch_size": 18})  # the last batch has fewer photos than the others
    monkeypatch.setenv("PYTHONPATH", str(project.folder / "src"))
    found = []
    for processes in ("1", "2"):
        monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path / processes))
        said = project.run("torchrun", "--nproc-per-node", processes, "stages/train.py", "full")
        assert said.count("epoch 2/2: train_loss") == 1  # the first process tells it, and no other one does
        paths = [project.folder / name for name in ("models/full.pt", "metrics/train_full", "models/epochs/full")]
        found.append([sha256_of(path) for path in paths])
    assert found[0] == found[1]
    project.set(**{"train.replicas": 1})
    project.run("python", "stages/train.py", "full")
    assert sha256_of(project.folder / "models/full.pt") != found[0][0]  # it is another definition of a batch
