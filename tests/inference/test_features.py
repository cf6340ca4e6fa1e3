import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import warm_python
from helpers.paths import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.compute.user_cache import ROOM_VARIABLE, user_cache
from marketplace.inference.features import DeviceFeatures, FeatureStore, LiveFeatures
from marketplace.inference.trunk import TrunkRunner
from marketplace.models.network import Network

ALL_ROWS = np.arange(6)


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return Network("efficientnet_lite0", 3).eval()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images that the trunk ran for, call by call; each store runs it once for the size of features."""
    counts: list[int] = []
    half = LiveFeatures.half

    def count(self: LiveFeatures, rows: np.ndarray, *arguments: Any) -> np.ndarray:
        counts.append(len(rows))
        return half(self, rows, *arguments)

    monkeypatch.setattr(LiveFeatures, "half", count)
    return counts


def pack_paths() -> list[Path]:
    return sorted(user_cache("packs").rglob("*.npy"))


@pytest.mark.parametrize("mirrored", [False, True])
def test_stored_features_are_those_of_the_trunk(
    network: Network, images: np.ndarray, mirrored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = FeatureStore(network, images).features(mirrored=mirrored)
    rows = np.array([5, 0, 3])
    pixels = network.pixels(images[rows])
    with torch.inference_mode():
        expected = network.trunk(pixels.flip(3) if mirrored else pixels)
    torch.testing.assert_close(stored(rows), expected, rtol=2e-3, atol=2e-3)
    monkeypatch.setenv(ROOM_VARIABLE, "0")
    monkeypatch.setenv("MARKETPLACE_CACHE", str(user_cache("elsewhere")))
    live = FeatureStore(network, images).features(mirrored=mirrored)
    assert torch.equal(live(rows), stored(rows))
    assert not pack_paths()


def test_features_are_computed_once(network: Network, images: np.ndarray, computed: list[int]) -> None:
    first = FeatureStore(network, images).features()(ALL_ROWS)
    assert sum(computed) == 1 + len(images)
    computed.clear()
    assert torch.equal(FeatureStore(network, images).features()(ALL_ROWS), first)
    assert not computed


def test_only_new_images_are_computed_in_any_order_of_the_others(
    network: Network, images: np.ndarray, computed: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "marketplace")
    before = FeatureStore(network, images).features()(ALL_ROWS)
    computed.clear()
    new = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    grown = np.concatenate([images[[4, 2]], new, images[[0, 1, 3, 5]], new])
    after = FeatureStore(network, grown).features()(np.arange(8))
    assert sum(computed) == 1 + 1
    assert torch.equal(after[[3, 4, 1, 5, 0, 6]], before)
    assert torch.equal(after[2], after[7])
    assert "frozen layers: 1 of 8 images are new" in caplog.text


@pytest.fixture(scope="module")
def live(network: Network, images: np.ndarray) -> LiveFeatures:
    return LiveFeatures(TrunkRunner(network, images.shape[1]), images, mirrored=False)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)), cut=st.integers(0, 6))
def test_features_do_not_depend_on_other_images_of_the_batch(live: LiveFeatures, order: list[int], cut: int) -> None:
    rows = np.array(order)
    apart = np.concatenate([live.half(part) for part in (rows[:cut], rows[cut:]) if len(part)])
    np.testing.assert_array_equal(apart, live.half(ALL_ROWS)[rows])


def test_everything_that_determines_features_changes_their_place(network: Network, images: np.ndarray) -> None:
    torch.manual_seed(1)
    others = {
        "weights": (Network("efficientnet_lite0", 3).eval(), images, False),
        "images": (network, images + np.uint8(1), False),
        "size": (network, np.ascontiguousarray(images[:, :32, :32]), False),
        "view": (network, images, True),
    }
    FeatureStore(network, images).features()
    for count, (change, (other_network, array, mirrored)) in enumerate(others.items(), start=2):
        FeatureStore(other_network, array).features(mirrored=mirrored)
        assert len(pack_paths()) == count, change


def test_a_fine_tuned_tail_finds_the_trunks_features(network: Network, images: np.ndarray, computed: list[int]) -> None:
    FeatureStore(network, images).features()
    computed.clear()
    tuned = Network("efficientnet_lite0", 5)
    tuned.trunk.load_state_dict(network.trunk.state_dict())
    FeatureStore(tuned.eval(), images).features()(ALL_ROWS)
    assert not computed


def test_a_killed_run_keeps_its_packs(
    network: Network, images: np.ndarray, monkeypatch: pytest.MonkeyPatch, computed: list[int]
) -> None:
    monkeypatch.setattr("marketplace.inference.features.PACK", 2)
    half = LiveFeatures.half

    def interrupt(self: LiveFeatures, rows: np.ndarray, *arguments: Any) -> np.ndarray:
        if 4 in rows:
            raise KeyboardInterrupt
        return half(self, rows, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(LiveFeatures, "half", interrupt)
        with pytest.raises(KeyboardInterrupt):
            FeatureStore(network, images).features()
    assert len(pack_paths()) == 2
    computed.clear()
    FeatureStore(network, images).features()
    assert sum(computed) == 1 + 2


@pytest.mark.parametrize("damage", ["zeros", "a bit", "cut", "empty"])
def test_damaged_features_are_computed_again(
    network: Network, images: np.ndarray, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    expected = FeatureStore(network, images).features()(ALL_ROWS)
    (path,) = pack_paths()
    content = bytearray(path.read_bytes())
    if damage == "zeros":  # of one image
        content[2000:3000] = bytes(1000)
    elif damage == "a bit":
        content[2000] ^= 1
    content = content if damage in ("zeros", "a bit") else content[: len(content) // 2 * (damage == "cut")]
    path.write_bytes(content)
    assert torch.equal(FeatureStore(network, images).features()(ALL_ROWS), expected)
    assert f"{path} is damaged: it is computed again" in caplog.text


WRITER = """
import sys
import numpy as np
import torch
from marketplace.inference.features import FeatureStore
from marketplace.models.network import Network

images, results = sys.argv[1:]
torch.manual_seed(0)
store = FeatureStore(Network("efficientnet_lite0", 3).eval(), np.load(images))
np.save(results, store.features()(np.arange(6)).numpy())
"""


def test_two_writers_do_not_disturb_each_other(images: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", images)
    paths = [tmp_path / f"results{number}.npy" for number in range(2)]
    command = [f"{warm_python.start()}/python", "-c", WRITER, str(tmp_path / "images.npy")]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    processes = [subprocess.Popen([*command, str(path)], env=environment) for path in paths]
    assert [process.wait() for process in processes] == [0, 0]
    results = [np.load(path) for path in paths]
    np.testing.assert_array_equal(results[0], results[1])
    assert len(pack_paths()) == 1
    assert len([path for path in user_cache("packs").rglob("*") if path.is_file()]) == 1


def test_features_in_a_devices_memory_are_the_stored_ones(network: Network, images: np.ndarray) -> None:
    stored = FeatureStore(network, images).features()
    in_memory = DeviceFeatures(torch.from_numpy(np.load(pack_paths()[0])))  # one pack has all rows in order
    rows = np.array([5, 0, 3])
    assert torch.equal(in_memory(rows), stored(rows))
