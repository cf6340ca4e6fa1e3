import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from marketplace.common.files import user_cache
from marketplace.models import features
from marketplace.models.features import Features, FeatureStore, HeldFeatures, LiveFeatures, StoredFeatures
from marketplace.models.network import Network

ROWS = np.array([0, 2, 3, 5])


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


def trunk_features(
    network: Network, images: np.ndarray, rows: np.ndarray, *, mirrored: bool = False, room_gib: float = 0.0
) -> Features:
    return FeatureStore(network, images).features(rows, mirrored=mirrored, room_gib=room_gib)


def stored_files() -> list[Path]:
    return sorted(user_cache("features").glob("*.npy"))


@pytest.mark.parametrize("mirrored", [False, True])
def test_stored_features_are_those_of_the_trunk(network: Network, images: np.ndarray, mirrored: bool) -> None:
    stored = trunk_features(network, images, ROWS, mirrored=mirrored, room_gib=1)
    assert isinstance(stored, StoredFeatures)
    asked = np.array([5, 0, 3])
    pixels = network.pixels(images[asked])
    with torch.inference_mode():
        expected = network.trunk(pixels.flip(3) if mirrored else pixels)
    torch.testing.assert_close(stored(asked), expected, rtol=2e-3, atol=2e-3)
    live = trunk_features(network, images, ROWS, mirrored=mirrored)
    torch.testing.assert_close(live(asked), stored(asked), rtol=1e-3, atol=1e-3)


def test_features_are_computed_once(network: Network, images: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trunk_features(network, images, ROWS, room_gib=1)

    def no_more(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(features, "_fill", no_more)
    again = trunk_features(network, images, ROWS)  # reading needs no room
    assert isinstance(again, StoredFeatures)
    assert torch.equal(again(ROWS), first(ROWS))


def test_whatever_determines_features_gives_them_another_name(network: Network, images: np.ndarray) -> None:
    torch.manual_seed(1)
    others = {
        "weights": (Network("efficientnet_lite0", 3).eval(), images, ROWS, False),
        "images": (network, images + np.uint8(1), ROWS, False),
        "size": (network, np.ascontiguousarray(images[:, :32, :32]), ROWS, False),
        "rows": (network, images, ROWS[:3], False),
        "view": (network, images, ROWS, True),
    }
    trunk_features(network, images, ROWS, room_gib=1)
    for count, (what, (net, array, rows, mirrored)) in enumerate(others.items(), start=2):
        trunk_features(net, array, rows, mirrored=mirrored, room_gib=1)
        assert len(stored_files()) == count, what


def test_a_fine_tuned_tail_finds_the_trunks_features(network: Network, images: np.ndarray) -> None:
    trunk_features(network, images, ROWS, room_gib=1)
    tuned = Network("efficientnet_lite0", 5)
    tuned.trunk.load_state_dict(network.trunk.state_dict())
    assert isinstance(trunk_features(tuned.eval(), images, ROWS), StoredFeatures)


def test_what_does_not_fit_is_computed_live_and_says_so(
    network: Network, images: np.ndarray, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(trunk_features(network, images, ROWS, room_gib=1e-6), LiveFeatures)
    assert "more than train.feature_cache_gib" in caplog.text
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    assert isinstance(trunk_features(network, images, ROWS, room_gib=1), LiveFeatures)
    assert "the disk of" in caplog.text
    assert not list(user_cache("features").iterdir())


def test_the_least_recently_used_makes_room(network: Network, images: np.ndarray) -> None:
    size_gib = 0.0
    for age, rows in ((300, ROWS), (200, np.array([0, 1, 2, 3])), (100, np.array([1, 2, 3, 4]))):
        trunk_features(network, images, rows, room_gib=1)
        newest = max(stored_files(), key=lambda path: path.stat().st_mtime)
        size_gib = newest.stat().st_size / features.GIB
        os.utime(newest, (time.time() - age,) * 2)
    trunk_features(network, images, ROWS)  # the oldest is used again
    used = max(stored_files(), key=lambda path: path.stat().st_mtime)
    trunk_features(network, images, np.array([2, 3, 4, 5]), room_gib=3.2 * size_gib)
    assert len(stored_files()) == 3
    assert used in stored_files()


def test_a_killed_writer_leaves_nothing_that_is_read(
    network: Network, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, young = user_cache("features") / "a.npy.1.part", user_cache("features") / "b.npy.2.part"
    for part in (old, young):
        part.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * features.STALE_SECONDS,) * 2)

    def killed(self: LiveFeatures, rows: np.ndarray) -> np.ndarray:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LiveFeatures, "half", killed)
        with pytest.raises(KeyboardInterrupt):
            trunk_features(network, images, ROWS, room_gib=1)
    assert {path.name for path in user_cache("features").iterdir()} == {old.name, young.name}
    assert isinstance(trunk_features(network, images, ROWS, room_gib=1), StoredFeatures)
    assert not old.exists()  # another writer may still be at the young one
    assert young.exists()


@pytest.mark.parametrize("damage", ["zeros", "a bit", "cut", "empty"])
def test_damaged_features_are_computed_again(
    network: Network, images: np.ndarray, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    expected = trunk_features(network, images, ROWS, room_gib=1)(ROWS).clone()
    (path,) = stored_files()
    content = bytearray(path.read_bytes())
    if damage == "zeros":  # of one image
        content[2000:3000] = bytes(1000)
    elif damage == "a bit":
        content[-200] ^= 1
    content = content if damage in ("zeros", "a bit") else content[: len(content) // 2 * (damage == "cut")]
    path.write_bytes(content)
    again = trunk_features(network, images, ROWS, room_gib=1)
    assert torch.equal(again(ROWS), expected)
    assert f"{path} is damaged: the frozen layers run again" in caplog.text


def test_two_writers_of_one_file_do_not_disturb_each_other(network: Network, images: np.ndarray) -> None:
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
        results = list(processes.map(write_and_read, [images] * 4))
    assert all((result == results[0]).all() for result in results)
    assert len(stored_files()) == 1
    assert len(list(user_cache("features").iterdir())) == 1


def write_and_read(images: np.ndarray) -> np.ndarray:
    torch.manual_seed(0)
    values: np.ndarray = trunk_features(Network("efficientnet_lite0", 3).eval(), images, ROWS, room_gib=1)(ROWS).numpy()
    return values


def test_features_held_in_memory_are_the_stored_ones(network: Network, images: np.ndarray) -> None:
    stored = trunk_features(network, images, ROWS, room_gib=1)
    (path,) = stored_files()
    held = HeldFeatures(torch.from_numpy(np.load(path)), ROWS)
    asked = np.array([5, 0, 3])
    assert torch.equal(held(asked), stored(asked))
