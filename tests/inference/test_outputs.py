import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.networks import outputs_of, tail_of
from helpers.training_runs import CATEGORIES
from torch import Tensor

from marketplace.common.errors import MarketplaceError
from marketplace.inference.tail import Tail
from marketplace.models.checkpoints import checkpoint_of
from marketplace.models.network import Network

FIGURES = {"train_loss": 0.5, "val_loss": 0.75, "val_accuracy": 0.625}


@pytest.fixture(scope="module")
def tail(network: Network) -> Tail:
    checkpoint = checkpoint_of(
        network, weights="none", size=64, categories=CATEGORIES, leaves=[], epoch=3, figures=FIGURES
    )
    return tail_of(checkpoint, 64)


def write_metrics(folder: Path, **best: float) -> Path:
    """Write metrics of the chosen epoch that differ from the network's in `best`."""
    (folder / "metrics.json").write_text(json.dumps({"best": {"epoch": 3, **FIGURES, **best}}))
    return folder / "metrics.json"


def test_a_network_that_is_not_the_chosen_epoch_is_refused(tmp_path: Path, tail: Tail) -> None:
    tail.check_chosen(write_metrics(tmp_path))
    with pytest.raises(MarketplaceError, match=r"'epoch': 4.* was chosen: one of them is stale"):
        tail.check_chosen(write_metrics(tmp_path, epoch=4))
    with pytest.raises(MarketplaceError, match=r"one of them is stale"):
        tail.check_chosen(write_metrics(tmp_path, val_loss=0.7))


@pytest.mark.parametrize("content", [b"", b"not a network"])
def test_a_damaged_network_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "full.onnx"
    with pytest.raises(MarketplaceError, match=r"full\.onnx is missing: run `dvc repro`"):
        _ = Tail(path).dimensions
    path.write_bytes(content)
    with pytest.raises(MarketplaceError, match=r"full\.onnx is damaged"):
        _ = Tail(path).dimensions


def test_a_tail_knows_its_checkpoint_and_its_classifiers(tail: Tail, network: Network) -> None:
    assert tail.checkpoint == {
        "backbone": "resnet18",
        "classifier": "linear",
        "weights": "none",
        "size": 64,
        "categories": CATEGORIES,
        "leaves": [],
        "epoch": 3,
        "figures": FIGURES,
    }
    assert tail.dimensions == network.dimensions
    classifiers = tail.classifiers().graph
    assert [entry.name for entry in classifiers.input] == ["embedding"]
    assert [entry.name for entry in classifiers.output] == ["category"]


def test_outputs_are_pooled_image_by_image(network: Network, images: np.ndarray) -> None:
    outputs = outputs_of(network, images)
    for values, expected in zip(outputs, run_one_by_one(network, images), strict=True):
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected, rtol=2e-2, atol=2e-3)


def test_mirrored_outputs_are_the_mean_of_both_views(network: Network, images: np.ndarray) -> None:
    plain = run_one_by_one(network, images)
    mirrored = run_one_by_one(network, np.ascontiguousarray(images[:, :, ::-1]))
    outputs = outputs_of(network, images, mirrored=True)
    np.testing.assert_allclose(outputs.embeddings, (plain[0] + mirrored[0]) / 2, rtol=2e-2, atol=2e-3)
    np.testing.assert_allclose(outputs.details, (plain[1] + mirrored[1]) / 2, rtol=2e-2, atol=2e-3)


def test_outputs_of_known_images_are_found_again(
    network: Network, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path))
    expected = outputs_of(network, images)

    def fail(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(Tail, "embed", fail)
    outputs = outputs_of(network, images[::-1])
    assert np.array_equal(outputs.embeddings, expected.embeddings[::-1])
    assert np.array_equal(outputs.details, expected.details[::-1])


def run_one_by_one(network: Network, images: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return embeddings and details, computed image by image with PyTorch."""
    with torch.inference_mode():
        features = [network.trunk(network.pixels(images[[row]])) for row in range(len(images))]
        embeddings = torch.cat([network.tail(of_image) for of_image in features])
        return embeddings, torch.cat([of_image.mean((2, 3)) for of_image in features])
