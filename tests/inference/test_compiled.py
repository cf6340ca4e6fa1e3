"""Networks that are compiled once for all processes."""

from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from helpers.full_disk import limit_file_size
from torch import nn

from marketplace.common.files import sha256_of
from marketplace.inference.compiled import compile_model
from marketplace.training.onnx_export import write_onnx

IMAGES = np.random.default_rng(0).standard_normal((2, 3, 8, 8), dtype=np.float32)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path / "cache"))


def write_network(path: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)).eval()
    example = torch.zeros(2, 3, 8, 8)
    write_onnx(path, layers, example, input_name="images", output_names=["values"], dynamic_axes={0: "N"})
    return path


def run(path: Path) -> np.ndarray:
    return compile_model(path, sha256_of(path))(IMAGES)[0]


def forbid_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(openvino.Core, "compile_model", fail)


def blobs(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache/compiled").iterdir())


def test_a_network_is_compiled_once_and_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_network(tmp_path / "network.onnx")
    direct = compile_model(path)(IMAGES)[0]
    first = run(path)
    forbid_compiling(monkeypatch)
    assert np.array_equal(run(path), first)
    assert np.array_equal(direct, first)


def test_a_network_that_replaces_another_is_not_mistaken_for_it(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    before = run(write_network(path))
    after = run(write_network(path, seed=1))
    assert not np.array_equal(before, after)
    assert np.array_equal(after, compile_model(path)(IMAGES)[0])


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-40], lambda content: content[:99] + bytes([content[99] ^ 1]) + content[100:]]
)
def test_a_damaged_blob_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: object) -> None:
    path = write_network(tmp_path / "network.onnx")
    before = run(path)
    (blob,) = blobs(tmp_path)
    damaged = damage(blob.read_bytes())  # type: ignore[operator]
    blob.write_bytes(damaged)
    assert np.array_equal(run(path), before)
    assert blobs(tmp_path) == [blob]
    assert blob.read_bytes() != damaged
    forbid_compiling(monkeypatch)
    assert np.array_equal(run(path), before)


def test_a_blob_that_this_openvino_refuses_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_network(tmp_path / "network.onnx")
    before = run(path)

    def refuse(*_: object) -> None:
        raise RuntimeError("of another version")

    monkeypatch.setattr(openvino.Core, "import_model", refuse)
    assert np.array_equal(run(path), before)


def test_a_full_disk_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_network(tmp_path / "network.onnx")
    with limit_file_size(1000):
        assert run(path).shape == (2, 4)
    assert not blobs(tmp_path)
    assert f"the cache {tmp_path}/cache/compiled cannot hold more" in caplog.text
