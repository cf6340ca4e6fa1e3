import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from marketplace.common.errors import MarketplaceError
from marketplace.inference.outputs import chosen_checkpoint, network_outputs
from marketplace.models.checkpoints import Checkpoint, checkpoint_of, save
from marketplace.models.network import Network

FIGURES = {"train_loss": 0.5, "val_loss": 0.75, "val_accuracy": 0.625}
CATEGORIES = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return Network("resnet18", n_categories=4).eval()


@pytest.fixture(scope="module")
def checkpoint(network: Network) -> Checkpoint:
    return checkpoint_of(network, weights="none", size=64, categories=CATEGORIES, leaves=[], epoch=3, figures=FIGURES)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)


def written(folder: Path, checkpoint: Checkpoint, **best: float) -> tuple[Path, Path]:
    save(folder / "full.pt", checkpoint)
    (folder / "metrics.json").write_text(json.dumps({"best": {"epoch": 3, **FIGURES, **best}}))
    return folder / "full.pt", folder / "metrics.json"


def test_a_checkpoint_that_is_not_the_chosen_epoch_is_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    assert chosen_checkpoint(*written(tmp_path, checkpoint))["epoch"] == 3
    with pytest.raises(MarketplaceError, match=r"'epoch': 4.* was chosen: one of them is stale"):
        chosen_checkpoint(*written(tmp_path, checkpoint, epoch=4))
    with pytest.raises(MarketplaceError, match=r"one of them is stale"):
        chosen_checkpoint(*written(tmp_path, checkpoint, val_loss=0.7))


def test_outputs_are_pooled_image_by_image(network: Network, images: np.ndarray) -> None:
    outputs = network_outputs(network, images)
    for found, expected in zip(outputs, one_by_one(network, images), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-3)


def test_mirrored_outputs_are_the_mean_of_both_views(network: Network, images: np.ndarray) -> None:
    views = images, np.ascontiguousarray(images[:, :, ::-1])
    parts = [one_by_one(network, view) for view in views]
    outputs = network_outputs(network, images, mirrored=True)
    for found, plain, mirrored in zip(outputs, *parts, strict=True):
        torch.testing.assert_close(found, (plain + mirrored) / 2, rtol=2e-2, atol=2e-3)


def one_by_one(network: Network, images: np.ndarray) -> tuple[Tensor, Tensor]:
    """Embeddings and details."""
    with torch.inference_mode():
        features = [network.trunk(network.pixels(images[[i]])) for i in range(len(images))]
        return torch.cat([network.tail(one) for one in features]), torch.cat([one.mean((2, 3)) for one in features])
