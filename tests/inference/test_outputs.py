import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.training_runs import CATEGORIES
from torch import Tensor

from marketplace.common.errors import MarketplaceError
from marketplace.inference.outputs import chosen_checkpoint, network_outputs
from marketplace.models.checkpoints import Checkpoint, checkpoint_of, save
from marketplace.models.network import Network

FIGURES = {"train_loss": 0.5, "val_loss": 0.75, "val_accuracy": 0.625}


@pytest.fixture(scope="module")
def checkpoint(network: Network) -> Checkpoint:
    return checkpoint_of(network, weights="none", size=64, categories=CATEGORIES, leaves=[], epoch=3, figures=FIGURES)


def write_training_run(folder: Path, checkpoint: Checkpoint, **best: float) -> tuple[Path, Path]:
    """Write a checkpoint, and metrics of the chosen epoch that differ from it in `best`; return both paths."""
    save(folder / "full.pt", checkpoint)
    (folder / "metrics.json").write_text(json.dumps({"best": {"epoch": 3, **FIGURES, **best}}))
    return folder / "full.pt", folder / "metrics.json"


def test_a_checkpoint_that_is_not_the_chosen_epoch_is_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    assert chosen_checkpoint(*write_training_run(tmp_path, checkpoint))["epoch"] == 3
    with pytest.raises(MarketplaceError, match=r"'epoch': 4.* was chosen: one of them is stale"):
        chosen_checkpoint(*write_training_run(tmp_path, checkpoint, epoch=4))
    with pytest.raises(MarketplaceError, match=r"one of them is stale"):
        chosen_checkpoint(*write_training_run(tmp_path, checkpoint, val_loss=0.7))


def test_outputs_are_pooled_image_by_image(network: Network, images: np.ndarray) -> None:
    outputs = network_outputs(network, images)
    for values, expected in zip(outputs, run_one_by_one(network, images), strict=True):
        assert values.dtype == torch.float32
        torch.testing.assert_close(values, expected, rtol=2e-2, atol=2e-3)


def test_mirrored_outputs_are_the_mean_of_both_views(network: Network, images: np.ndarray) -> None:
    plain = run_one_by_one(network, images)
    mirrored = run_one_by_one(network, np.ascontiguousarray(images[:, :, ::-1]))
    outputs = network_outputs(network, images, mirrored=True)
    torch.testing.assert_close(outputs.embeddings, (plain[0] + mirrored[0]) / 2, rtol=2e-2, atol=2e-3)
    torch.testing.assert_close(outputs.details, (plain[1] + mirrored[1]) / 2, rtol=2e-2, atol=2e-3)


def test_outputs_of_known_images_are_found_again(
    network: Network, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path))
    expected = network_outputs(network, images)

    def fail(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("marketplace.inference.outputs.outputs_of", fail)
    outputs = network_outputs(network, images[::-1])
    assert torch.equal(outputs.embeddings, expected.embeddings.flip(0))
    assert torch.equal(outputs.details, expected.details.flip(0))


def run_one_by_one(network: Network, images: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return embeddings and details, computed image by image with PyTorch."""
    with torch.inference_mode():
        features = [network.trunk(network.pixels(images[[row]])) for row in range(len(images))]
        embeddings = torch.cat([network.tail(of_image) for of_image in features])
        return embeddings, torch.cat([of_image.mean((2, 3)) for of_image in features])
