import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.common.errors import MarketplaceError
from marketplace.compute.pack_file import KEY
from marketplace.compute.packs import GIB, LEFTOVER_SECONDS, Packs, key_of
from marketplace.compute.user_cache import ROOM_VARIABLE, user_cache


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path / "cache"))


def arrays_of(numbers: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the key and an array `(2,)` for each number."""
    values = np.array([[number, number**2] for number in numbers], dtype=np.float32).reshape(-1, 2)
    return np.array([key_of(value) for value in values], dtype=KEY), values


def pack_paths() -> list[Path]:
    return sorted(user_cache("packs").rglob("*.npy"))


@given(
    packed_numbers=st.lists(st.lists(st.integers(0, 30), min_size=1, unique=True), max_size=5),
    numbers=st.lists(st.integers(0, 30)),
)
def test_a_written_array_is_found_by_its_key(packed_numbers: list[list[int]], numbers: list[int]) -> None:
    packs = Packs({"test": uuid4().hex})
    for numbers_of_pack in packed_numbers:
        packs.write(*arrays_of(numbers_of_pack))
    keys, values = arrays_of(numbers)
    lookup = packs.find(keys)
    stored = {number for numbers_of_pack in packed_numbers for number in numbers_of_pack}
    assert lookup.missing.tolist() == [number not in stored for number in numbers]
    rows = np.flatnonzero(~lookup.missing)
    if len(rows):
        np.testing.assert_array_equal(lookup.read(rows), values[rows])


@given(stored=st.sets(st.integers(0, 30)), numbers=st.lists(st.integers(0, 30)), pack=st.integers(1, 4))
def test_fill_computes_and_stores_missing_arrays(stored: set[int], numbers: list[int], pack: int) -> None:
    packs = Packs({"test": uuid4().hex})
    keys, values = arrays_of(numbers)
    computed: list[int] = []

    def compute(rows: np.ndarray) -> Iterator[np.ndarray]:
        for row in rows.tolist():
            computed.append(numbers[row])
            yield values[row]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("marketplace.compute.packs.PACK", pack)
        packs.write(*arrays_of(sorted(stored)))
        np.testing.assert_array_equal(packs.fill(packs.find(keys), compute).reshape(-1, 2), values)
        assert computed == [number for number in numbers if number not in stored]
        computed.clear()
        np.testing.assert_array_equal(packs.fill(packs.find(keys), compute).reshape(-1, 2), values)
        assert not computed


def test_fill_keeps_the_packs_of_a_killed_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketplace.compute.packs.PACK", 2)
    packs = Packs({"recipe": 1})
    keys, values = arrays_of([1, 2, 3, 4, 5])

    def compute(rows: np.ndarray) -> Iterator[np.ndarray]:
        yield from values[rows[:3]]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        packs.fill(packs.find(keys), compute)
    assert packs.find(keys).missing.tolist() == [False, False, True, True, True]


def test_fill_computes_arrays_without_room_to_store_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROOM_VARIABLE, "0")
    packs = Packs({"recipe": 1})
    keys, values = arrays_of([1, 2])
    np.testing.assert_array_equal(packs.fill(packs.find(keys), lambda rows: values[rows]), values)
    assert not pack_paths()


def test_the_least_recently_used_pack_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    packs = Packs({"recipe": 1})
    other_packs = Packs({"recipe": 2})
    for age, (writer, number) in zip((400, 300, 200), ((other_packs, 1), (packs, 2), (packs, 3)), strict=True):
        writer.write(*arrays_of([number]))
        newest = max(pack_paths(), key=lambda path: path.stat().st_mtime)
        os.utime(newest, (time.time() - age,) * 2)
    size = pack_paths()[0].stat().st_size
    monkeypatch.setenv(ROOM_VARIABLE, repr(3.5 * size / GIB))
    other_packs.find(arrays_of([1])[0])  # the oldest is used again
    assert packs.make_room(size, arrays_of([3])[0])
    assert packs.find(arrays_of([2, 3])[0]).missing.tolist() == [True, False]
    assert not other_packs.find(arrays_of([1])[0]).missing.any()


def test_a_pack_that_is_needed_now_is_not_dropped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    packs = Packs({"recipe": 1})
    packs.write(*arrays_of([1]))
    size = pack_paths()[0].stat().st_size
    monkeypatch.setenv(ROOM_VARIABLE, repr(1.5 * size / GIB))
    assert not packs.make_room(size, arrays_of([1])[0])
    assert "MARKETPLACE_CACHE_GIB" in caplog.text
    assert len(pack_paths()) == 1


def test_a_full_disk_is_a_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    assert not Packs({"recipe": 1}).make_room(100, arrays_of([])[0])
    assert "more than the disk of" in caplog.text
    assert "MARKETPLACE_CACHE_GIB" in caplog.text


def test_a_pack_that_cannot_be_written_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def raise_full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("marketplace.compute.pack_file.write_array", raise_full)
    packs = Packs({"recipe": 1})
    packs.write(*arrays_of([1]))
    assert "cannot hold more (No space left on device)" in caplog.text
    assert packs.find(arrays_of([1])[0]).missing.all()
    assert not list(user_cache("packs").rglob("*.part"))


def test_unfinished_files_of_killed_writers_are_deleted_after_a_day() -> None:
    packs = Packs({"recipe": 1})
    packs.write(*arrays_of([1]))
    old = pack_paths()[0].with_name("a.npy.1.part")
    young = pack_paths()[0].with_name("b.npy.2.part")
    for part in (old, young):
        part.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * LEFTOVER_SECONDS,) * 2)
    packs.make_room(10, arrays_of([])[0])
    assert not old.exists()
    assert young.exists()  # another process may still be writing it


@pytest.mark.parametrize("text", ["much", "-1", "nan"])
def test_the_room_must_be_a_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROOM_VARIABLE, text)
    with pytest.raises(MarketplaceError, match="set it to a number of GiB"):
        Packs({"recipe": 1}).make_room(1, arrays_of([])[0])
