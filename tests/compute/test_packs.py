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
from marketplace.common.files import user_cache
from marketplace.compute.packs import CACHE_GIB, GIB, KEY, STALE_SECONDS, Packs, key_of


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path / "cache"))


def arrays_of(numbers: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """An array for each number, and its key."""
    values = np.array([[number, number**2] for number in numbers], dtype=np.float32).reshape(-1, 2)
    return np.array([key_of(value) for value in values], dtype=KEY), values


@given(
    written=st.lists(st.lists(st.integers(0, 30), min_size=1, unique=True), max_size=5),
    asked=st.lists(st.integers(0, 30)),
)
def test_what_was_written_is_found_by_its_key(written: list[list[int]], asked: list[int]) -> None:
    packs = Packs({"test": uuid4().hex})
    for numbers in written:
        packs.write(*arrays_of(numbers))
    keys, values = arrays_of(asked)
    found = packs.find(keys)
    known = {number for numbers in written for number in numbers}
    assert found.missing.tolist() == [number not in known for number in asked]
    there = np.flatnonzero(~found.missing)
    if len(there):
        np.testing.assert_array_equal(found.read(there), values[there])


@given(stored=st.sets(st.integers(0, 30)), numbers=st.lists(st.integers(0, 30)), pack=st.integers(1, 4))
def test_fill_computes_what_is_missing_and_stores_it(stored: set[int], numbers: list[int], pack: int) -> None:
    packs = Packs({"test": uuid4().hex})
    keys, values = arrays_of(numbers)
    calls: list[int] = []

    def compute(rows: np.ndarray) -> Iterator[np.ndarray]:
        for row in rows.tolist():
            calls.append(numbers[row])
            yield values[row]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("marketplace.compute.packs.PACK", pack)
        packs.write(*arrays_of(sorted(stored)))
        np.testing.assert_array_equal(packs.fill(packs.find(keys), compute).reshape(-1, 2), values)
        assert calls == [number for number in numbers if number not in stored]
        calls.clear()
        np.testing.assert_array_equal(packs.fill(packs.find(keys), compute).reshape(-1, 2), values)
        assert not calls


def test_fill_keeps_the_packs_of_a_killed_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketplace.compute.packs.PACK", 2)
    packs = Packs({"kind": 1})
    keys, values = arrays_of([1, 2, 3, 4, 5])

    def compute(rows: np.ndarray) -> Iterator[np.ndarray]:
        yield from values[rows[:3]]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        packs.fill(packs.find(keys), compute)
    assert packs.find(keys).missing.tolist() == [False, False, True, True, True]


def test_fill_computes_what_there_is_no_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_GIB, "0")
    packs = Packs({"kind": 1})
    keys, values = arrays_of([1, 2])
    np.testing.assert_array_equal(packs.fill(packs.find(keys), lambda rows: values[rows]), values)
    assert not files()


def test_the_least_recently_used_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    packs, other = Packs({"kind": 1}), Packs({"kind": 2})
    for age, (kind, numbers) in zip((400, 300, 200), ((other, [1]), (packs, [2]), (packs, [3])), strict=True):
        kind.write(*arrays_of(numbers))
        newest = max(files(), key=lambda path: path.stat().st_mtime)
        os.utime(newest, (time.time() - age,) * 2)
    size = files()[0].stat().st_size
    monkeypatch.setenv(CACHE_GIB, repr(3.5 * size / GIB))
    other.find(arrays_of([1])[0])  # the oldest is used again
    assert packs.make_room(size, arrays_of([3])[0])
    assert packs.find(arrays_of([2, 3])[0]).missing.tolist() == [True, False]
    assert not other.find(arrays_of([1])[0]).missing.any()


def test_what_is_needed_now_is_not_dropped_for_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    packs = Packs({"kind": 1})
    packs.write(*arrays_of([1]))
    monkeypatch.setenv(CACHE_GIB, repr(1.5 * files()[0].stat().st_size / GIB))
    assert not packs.make_room(files()[0].stat().st_size, arrays_of([1])[0])
    assert "MARKETPLACE_CACHE_GIB" in caplog.text
    assert len(files()) == 1


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    assert not Packs({"kind": 1}).make_room(100, arrays_of([])[0])
    assert "more than the disk of" in caplog.text


def test_a_pack_that_cannot_be_written_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("marketplace.compute.packs.write_array", full)
    packs = Packs({"kind": 1})
    packs.write(*arrays_of([1]))
    assert "cannot be written (No space left on device)" in caplog.text
    assert packs.find(arrays_of([1])[0]).missing.all()
    assert not list(user_cache("packs").rglob("*.part"))


def test_leftovers_of_killed_writers_go_after_a_day() -> None:
    packs = Packs({"kind": 1})
    packs.write(*arrays_of([1]))
    old, young = files()[0].with_name("a.npy.1.part"), files()[0].with_name("b.npy.2.part")
    for part in (old, young):
        part.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * STALE_SECONDS,) * 2)
    packs.make_room(10, arrays_of([])[0])
    assert not old.exists()  # another writer may still be at the young one
    assert young.exists()


def test_the_room_must_be_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("much", "-1", "nan"):
        monkeypatch.setenv(CACHE_GIB, text)
        with pytest.raises(MarketplaceError, match="set it to a number of GiB"):
            Packs({"kind": 1}).make_room(1, arrays_of([])[0])


def files() -> list[Path]:
    return sorted(user_cache("packs").rglob("*.npy"))
