import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import warm_python
from helpers.networks import trunk_of
from helpers.paths import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.compute.user_cache import ROOM_VARIABLE, user_cache
from marketplace.inference.features import FeatureStore, LiveFeatures
from marketplace.inference.trunk import Trunk
from marketplace.models.checkpoints import Checkpoint, checkpoint_of
from marketplace.models.network import Network
from marketplace.training.feature_tensors import DeviceFeatures, open_features

ALL_ROWS = np.arange(6)


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path / "cache"))


def make_checkpoint(seed: int, n_categories: int = 3) -> Checkpoint:
    torch.manual_seed(seed)
    network = Network("efficientnet_lite0", n_categories)
    return checkpoint_of(network, weights="none", size=0, categories=[], leaves=[], epoch=0, figures={})


@pytest.fixture(scope="module")
def trunk() -> Trunk:
    return trunk_of(make_checkpoint(seed=0), 64)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images that the trunk ran for, call by call; each store runs it once for the size of features."""
    counts: list[int] = []
    call = LiveFeatures.__call__

    def count(self: LiveFeatures, rows: np.ndarray, *arguments: Any) -> np.ndarray:
        counts.append(len(rows))
        return call(self, rows, *arguments)

    monkeypatch.setattr(LiveFeatures, "__call__", count)
    return counts


def pack_paths() -> list[Path]:
    return sorted(user_cache("packs").rglob("*.npy"))


@pytest.mark.parametrize("mirrored", [False, True])
def test_stored_features_are_those_of_the_trunk(
    trunk: Trunk, images: np.ndarray, mirrored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = FeatureStore(trunk, images).features(mirrored=mirrored)
    rows = np.array([5, 0, 3])
    torch.manual_seed(0)
    network = Network("efficientnet_lite0", 3).eval()
    pixels = network.pixels(images[rows])
    with torch.inference_mode():
        expected = network.trunk(pixels.flip(3) if mirrored else pixels)
    tensors = open_features(stored, torch.device("cpu"))
    torch.testing.assert_close(tensors(rows), expected, rtol=2e-3, atol=2e-3)
    monkeypatch.setenv(ROOM_VARIABLE, "0")
    monkeypatch.setenv("MARKETPLACE_CACHE", str(user_cache("elsewhere")))
    live = FeatureStore(trunk, images).features(mirrored=mirrored)
    assert np.array_equal(live(rows), stored(rows))
    assert not pack_paths()


def test_features_are_computed_once(trunk: Trunk, images: np.ndarray, computed: list[int]) -> None:
    first = FeatureStore(trunk, images).features()(ALL_ROWS)
    assert sum(computed) == 1 + len(images)
    computed.clear()
    assert np.array_equal(FeatureStore(trunk, images).features()(ALL_ROWS), first)
    assert not computed


def test_only_new_images_are_computed_in_any_order_of_the_others(
    trunk: Trunk, images: np.ndarray, computed: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "marketplace")
    before = FeatureStore(trunk, images).features()(ALL_ROWS)
    computed.clear()
    new = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    grown = np.concatenate([images[[4, 2]], new, images[[0, 1, 3, 5]], new])
    after = FeatureStore(trunk, grown).features()(np.arange(8))
    assert sum(computed) == 1 + 1
    assert np.array_equal(after[[3, 4, 1, 5, 0, 6]], before)
    assert np.array_equal(after[2], after[7])
    assert "frozen layers: 1 of 8 images are new" in caplog.text


@pytest.fixture(scope="module")
def live(trunk: Trunk, images: np.ndarray) -> LiveFeatures:
    return LiveFeatures(trunk, images, mirrored=False)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)), cut=st.integers(0, 6))
def test_features_do_not_depend_on_other_images_of_the_batch(live: LiveFeatures, order: list[int], cut: int) -> None:
    rows = np.array(order)
    apart = np.concatenate([live(part) for part in (rows[:cut], rows[cut:]) if len(part)])
    np.testing.assert_array_equal(apart, live(ALL_ROWS)[rows])


def test_everything_that_determines_features_changes_their_place(trunk: Trunk, images: np.ndarray) -> None:
    start = make_checkpoint(seed=0)
    others = {
        "weights": (trunk_of(make_checkpoint(seed=1), 64), images, False),
        "images": (trunk, images + np.uint8(1), False),
        "size": (trunk_of(start, 32), np.ascontiguousarray(images[:, :32, :32]), False),
        "view": (trunk, images, True),
    }
    FeatureStore(trunk, images).features()
    for count, (change, (other_trunk, array, mirrored)) in enumerate(others.items(), start=2):
        FeatureStore(other_trunk, array).features(mirrored=mirrored)
        assert len(pack_paths()) == count, change


def test_a_fine_tuned_network_finds_the_trunks_features(trunk: Trunk, images: np.ndarray, computed: list[int]) -> None:
    FeatureStore(trunk, images).features()
    computed.clear()
    tuned = make_checkpoint(seed=1, n_categories=5)
    state = make_checkpoint(seed=0)["state_dict"]
    tuned["state_dict"] |= {name: value for name, value in state.items() if name.startswith("trunk.")}
    FeatureStore(trunk_of(tuned, 64), images).features()(ALL_ROWS)
    assert not computed


def test_a_killed_run_keeps_its_packs(
    trunk: Trunk, images: np.ndarray, monkeypatch: pytest.MonkeyPatch, computed: list[int]
) -> None:
    monkeypatch.setattr("marketplace.inference.features.PACK", 2)
    call = LiveFeatures.__call__

    def interrupt(self: LiveFeatures, rows: np.ndarray, *arguments: Any) -> np.ndarray:
        if 4 in rows:
            raise KeyboardInterrupt
        return call(self, rows, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(LiveFeatures, "__call__", interrupt)
        with pytest.raises(KeyboardInterrupt):
            FeatureStore(trunk, images).features()
    assert len(pack_paths()) == 2
    computed.clear()
    FeatureStore(trunk, images).features()
    assert sum(computed) == 1 + 2


@pytest.mark.parametrize("damage", ["zeros", "a bit", "cut", "empty"])
def test_damaged_features_are_computed_again(
    trunk: Trunk, images: np.ndarray, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    expected = FeatureStore(trunk, images).features()(ALL_ROWS)
    (path,) = pack_paths()
    content = bytearray(path.read_bytes())
    if damage == "zeros":  # of one image
        content[2000:3000] = bytes(1000)
    elif damage == "a bit":
        content[2000] ^= 1
    content = content if damage in ("zeros", "a bit") else content[: len(content) // 2 * (damage == "cut")]
    path.write_bytes(content)
    assert np.array_equal(FeatureStore(trunk, images).features()(ALL_ROWS), expected)
    assert f"{path} is damaged: it is computed again" in caplog.text


WRITER = """
import sys
from pathlib import Path
import numpy as np
from marketplace.inference.features import FeatureStore
from marketplace.inference.trunk import Trunk

trunk, images, results = map(Path, sys.argv[1:])
store = FeatureStore(Trunk(network=trunk, checkpoint=trunk), np.load(images))
np.save(results, store.features()(np.arange(6)))
"""


def test_two_writers_do_not_disturb_each_other(trunk: Trunk, images: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", images)
    paths = [tmp_path / f"results{number}.npy" for number in range(2)]
    command = [f"{warm_python.start()}/python", "-c", WRITER, str(trunk.network), str(tmp_path / "images.npy")]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    processes = [subprocess.Popen([*command, str(path)], env=environment) for path in paths]
    assert [process.wait() for process in processes] == [0, 0]
    results = [np.load(path) for path in paths]
    np.testing.assert_array_equal(results[0], results[1])
    assert len(pack_paths()) == 1
    assert len([path for path in user_cache("packs").rglob("*") if path.is_file()]) == 1


def test_features_in_a_devices_memory_are_the_stored_ones(trunk: Trunk, images: np.ndarray) -> None:
    stored = FeatureStore(trunk, images).features()
    in_memory = DeviceFeatures(torch.from_numpy(np.load(pack_paths()[0])))  # one pack has all rows in order
    rows = np.array([5, 0, 3])
    assert torch.equal(in_memory(rows), open_features(stored, torch.device("cpu"))(rows))
