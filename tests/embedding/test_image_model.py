"""The image model: the same vectors from its formulas, from stored outputs, from ONNX Runtime and from OpenVINO."""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from helpers.networks import tail_of, trunk_of
from torch.nn import functional as F

from marketplace.common.errors import MarketplaceError
from marketplace.embedding.graphs import Heads
from marketplace.embedding.heads_model import HeadsModel
from marketplace.embedding.image_model import ImageModel
from marketplace.embedding.onnx import Embedded, load_onnx
from marketplace.embedding.projection import Projection, Projections
from marketplace.inference.features import FeatureStore
from marketplace.inference.outputs import network_outputs
from marketplace.models.checkpoints import checkpoint_of
from marketplace.models.network import Network

CATEGORIES = ["a", "b"]
LEAVES = ["a / x", "a / y", "b"]
TITLE_DIMENSIONS = 7


@dataclass(frozen=True)
class Built:
    """An image model, and its network in PyTorch."""

    network: Network
    model: ImageModel


Build = Callable[..., Built]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def build() -> Build:
    """Builds the model of given properties, once for all tests."""
    return functools.cache(build_model)


def build_model(
    classifier: str = "cosine",
    *,
    backbone: str = "efficientnet_lite0",
    mirrored: bool = False,
    detail_power: float = 1.0,
    category_weight: float = 0.3,
    titles: bool = True,
    leaves: bool = True,
    leaf_temperature: float = 0.7,
) -> Built:
    """Export a network with random weights, which are the same for the same properties."""
    torch.manual_seed(0)
    network = Network(backbone, 2, classifier, n_leaves=3 * leaves, title_dimensions=titles * TITLE_DIMENSIONS).eval()
    checkpoint = checkpoint_of(
        network,
        weights="none",
        size=64,
        categories=CATEGORIES,
        leaves=LEAVES if leaves else [],
        epoch=3,
        figures={"val_loss": 0.75},
    )
    n_details = network.trunk(torch.zeros(1, 3, 64, 64)).shape[1]
    tail = tail_of(checkpoint, 64)
    heads = Heads(
        classifiers=tail.classifiers(),
        projections=Projections(
            identity=make_projection(network.dimensions, power=0.5, dimensions=16),
            detail=make_projection(n_details, power=detail_power, dimensions=6),
            kind=make_projection(network.dimensions, power=0.5, dimensions=8),
            detail_weight=0.25,
            category_weight=category_weight,
        ),
        paths=torch.randn(3 if leaves else 2, 5).numpy(),
        title_dimensions=TITLE_DIMENSIONS,
        leaf_temperature=leaf_temperature,
    )
    model = ImageModel(trunk=trunk_of(checkpoint, 64), tail=tail, heads=heads, mirrored=mirrored)
    return Built(network=network, model=model)


def make_projection(size: int, *, power: float, dimensions: int) -> Projection:
    """Some projection."""
    mean = torch.randn(size).abs().numpy()
    matrix = torch.randn(dimensions, size).numpy()
    return Projection(power=power, mean=mean, matrix=matrix)


def embed(built: Built, images: np.ndarray, folder: Path) -> Embedded:
    """The outputs of the model's file."""
    path = folder / "image_model.onnx"
    built.model.save(path)
    return load_onnx(path)(images)


def run_formulas(built: Built, images: np.ndarray) -> dict[str, np.ndarray]:
    """The vectors of images, computed with PyTorch as the docstrings say; without mirroring."""
    network = built.network
    heads = built.model.heads
    projections = heads.projections
    assert network.leaves is not None
    assert network.title is not None
    with torch.inference_mode():
        pixels = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        features = network.trunk(pixels)
        embeddings = network.tail(features)
        roots = network.head(embeddings).softmax(dim=1)
        leaves = (network.leaves(embeddings) / heads.leaf_temperature).softmax(dim=1)
        titles = network.title(embeddings)

    def project(values: torch.Tensor, projection: Projection) -> torch.Tensor:
        return F.normalize((values - torch.from_numpy(projection.mean)) @ torch.from_numpy(projection.matrix).T)

    signed_roots = embeddings.sign() * embeddings.abs().sqrt()
    identity = project(signed_roots, projections.identity)
    detail = project(features.mean(dim=(2, 3)), projections.detail)
    kind = project(signed_roots, projections.kind)
    return {
        "identity": np.hstack([0.75**0.5 * identity, 0.25**0.5 * detail]),
        "kind": np.hstack([0.7**0.5 * kind, 0.15**0.5 * roots.sqrt(), 0.15**0.5 * leaves.sqrt()]),
        "title": F.normalize(titles).numpy(),
        "path": leaves.numpy() @ heads.paths,
        "category": roots.numpy(),
    }


def test_the_vectors_follow_their_formulas(build: Build, images: np.ndarray, tmp_path: Path) -> None:
    built = build()
    embedded = embed(built, images, tmp_path)
    for name, expected in run_formulas(built, images).items():
        np.testing.assert_allclose(getattr(embedded, name), expected, atol=5e-4, err_msg=name)
    np.testing.assert_allclose(np.linalg.norm(embedded.kind, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_new_photo_gets_the_vectors_of_the_catalogue(
    build: Build, images: np.ndarray, tmp_path: Path, mirrored: bool
) -> None:
    """The catalogue's come from stored features, which are float16, and a new photo's from the file alone."""
    built = build(mirrored=mirrored)
    store = FeatureStore(built.model.trunk, images)
    built.model.heads_model().save(tmp_path / "heads.onnx")
    heads = HeadsModel.load(tmp_path / "heads.onnx", built.model.tail)
    assert heads.mirrored is mirrored
    vectors = heads(network_outputs(store, built.model.tail, mirrored=mirrored))
    embedded = embed(built, images, tmp_path)
    for name, expected in vectors._asdict().items():
        np.testing.assert_allclose(getattr(embedded, name), expected, atol=1e-3, err_msg=name)


def test_formulas_that_were_fitted_to_another_network_are_refused(build: Build, tmp_path: Path) -> None:
    path = tmp_path / "heads.onnx"
    build().model.heads_model().save(path)
    retrained = build("linear").model.tail
    with pytest.raises(MarketplaceError, match=r"was fitted to another network than .*: run `dvc unfreeze fit`, then"):
        HeadsModel.load(path, retrained)


@pytest.mark.parametrize("content", [b"", b"not a network"])
def test_damaged_formulas_are_an_error_that_says_what_to_do(build: Build, tmp_path: Path, content: bytes) -> None:
    tail = build().model.tail
    path = tmp_path / "heads.onnx"
    with pytest.raises(MarketplaceError, match=r"heads\.onnx is missing: run `dvc repro`"):
        HeadsModel.load(path, tail)
    path.write_bytes(content)
    with pytest.raises(MarketplaceError, match=r"heads\.onnx is damaged .*: delete .*heads\.onnx, then run"):
        HeadsModel.load(path, tail)


def test_with_mirroring_a_photo_and_its_mirror_image_have_the_same_vectors(
    build: Build, images: np.ndarray, tmp_path: Path
) -> None:
    flipped = np.ascontiguousarray(images[:, :, ::-1])
    mirroring = build(mirrored=True)
    vectors = embed(mirroring, images, tmp_path)
    of_flipped = embed(mirroring, flipped, tmp_path)
    np.testing.assert_allclose(of_flipped.identity, vectors.identity, atol=1e-5)
    np.testing.assert_allclose(of_flipped.kind, vectors.kind, atol=1e-5)
    np.testing.assert_allclose(of_flipped.kind_map[:, :, ::-1], vectors.kind_map, atol=1e-4)
    without = build()
    difference = embed(without, images, tmp_path).identity - embed(without, flipped, tmp_path).identity
    assert np.abs(difference).max() > 1e-3


@pytest.mark.parametrize(
    ("backbone", "mirrored"), [("resnet18", False), ("efficientnet_lite0", False), ("efficientnet_lite0", True)]
)
def test_a_kind_map_sums_up_to_its_part_of_the_kind_vector(
    build: Build, images: np.ndarray, tmp_path: Path, backbone: str, mirrored: bool
) -> None:
    vectors = embed(build(backbone=backbone, mirrored=mirrored), images[:4], tmp_path)
    assert vectors.kind_map.shape == (4, 2, 2, 8)
    np.testing.assert_allclose(vectors.kind_map.mean(axis=(1, 2)), vectors.kind[:, :8], atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": "resnet18", "titles": False},
        {"classifier": "linear", "mirrored": True, "category_weight": 0.0, "leaves": False},
    ],
)
def test_every_runtime_gives_the_same_vectors_for_any_batch(
    tmp_path: Path, build: Build, images: np.ndarray, changes: dict[str, object]
) -> None:
    built = build(**changes)
    path = tmp_path / "image_model.onnx"
    built.model.save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]

    session = onnxruntime.InferenceSession(str(path))
    (argument,) = session.get_inputs()
    assert argument.name == "images"
    assert argument.type == "tensor(uint8)"
    assert argument.shape == ["N", 64, 64, 3]
    names = ["identity", "kind", "title", "path", "category", "kind_map"]
    assert [output.name for output in session.get_outputs()] == names
    assert [output.shape[0] for output in session.get_outputs()] == ["N"] * len(names)
    openvino_model = load_onnx(path)
    together = openvino_model(images)
    for n in (1, 20):
        of_runtime = session.run(names, {"images": images[:n]})
        for name, values in zip(names, of_runtime, strict=True):
            expected = getattr(together, name)[:n]
            tolerance = 1e-3 * max(1, np.abs(expected).max())
            assert np.abs(values - expected).max() <= tolerance, name
            assert np.abs(getattr(openvino_model(images[:n]), name) - expected).max() <= tolerance, name
    assert together.title.shape == (20, TITLE_DIMENSIONS)
    assert together.title.any() == (changes.get("titles", True) is True)


def test_the_file_says_where_it_comes_from(tmp_path: Path, build: Build) -> None:
    build("linear").model.save(tmp_path / "image_model.onnx", background=(255, 255, 255), extract={"power": 0.5})
    metadata = onnx.load(tmp_path / "image_model.onnx").metadata_props
    assert {entry.key: json.loads(entry.value) for entry in metadata} == {
        "weights": "none",
        "size": 64,
        "categories": CATEGORIES,
        "leaves": LEAVES,
        "epoch": 3,
        "figures": {"val_loss": 0.75},
        "backbone": "efficientnet_lite0",
        "classifier": "linear",
        "background": [255, 255, 255],
        "extract": {"power": 0.5},
    }


def test_saving_twice_gives_the_same_bytes_without_local_paths(tmp_path: Path) -> None:
    for name in ("first", "second"):
        build_model(backbone="resnet18", mirrored=True).model.save(tmp_path / name)
    content = (tmp_path / "first").read_bytes()
    assert (tmp_path / "second").read_bytes() == content
    assert b"marketplace/" not in content
    assert b"site-packages" not in content
