import contextlib
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketplace.common.errors import MarketplaceError
from marketplace.sources import photo_store
from marketplace.sources.photo_store import PhotoStore, Stamp

PHOTOS = {f"photo {i}.jpg": bytes([i]) * (i * 97 % 1500) for i in range(40)}


@pytest.fixture(autouse=True)
def _one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_store, "N_FILES", 1)


def stamp(content: bytes, version: str = "1") -> Stamp:
    return Stamp(len(content), version)


def filled(folder: Path) -> PhotoStore:
    store = PhotoStore(folder)
    for name, content in PHOTOS.items():
        store.add(name, stamp(content), content)
    store.close()
    return PhotoStore(folder)


def test_photos_come_back_with_their_stamps(tmp_path: Path) -> None:
    store = filled(tmp_path)
    for name, content in PHOTOS.items():
        assert store.stamp(name) == stamp(content)
        assert store.read(name) == content
        assert store.sha256(name) == hashlib.sha256(content).hexdigest()
    assert store.stamp("stranger.jpg") is None
    assert len(store) == len(PHOTOS)


def test_the_newest_version_counts_and_what_is_of_no_use_goes(tmp_path: Path) -> None:
    store = filled(tmp_path)
    size = (tmp_path / "000.photos").stat().st_size
    for version in "23":
        for name, content in PHOTOS.items():
            store.add(name, stamp(content + b"new", version), content + b"new")
    listing = {name: stamp(PHOTOS[name] + b"new", "3") for name in list(PHOTOS)[:30]}
    store.compact(listing)
    assert (tmp_path / "000.photos").stat().st_size < size
    again = PhotoStore(tmp_path)
    assert {name: again.stamp(name) for name in PHOTOS if name in again} == listing
    assert all(again.read(name) == PHOTOS[name] + b"new" for name in listing)


@given(data=st.data(), junk=st.binary(max_size=300))
@hypothesis_settings(max_examples=80, deadline=None)
def test_whatever_was_written_whole_survives_a_crash(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, junk: bytes
) -> None:
    folder = tmp_path_factory.mktemp("store")
    filled(folder).close()
    for name in ("000.photos", "000.index"):  # each may have reached the disk to another point
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: data.draw(st.integers(0, len(whole)))] + junk)
    store = PhotoStore(folder)
    kept = [name for name in PHOTOS if name in store]
    assert kept == list(PHOTOS)[: len(kept)]
    for name in PHOTOS:
        if name in kept:
            with contextlib.suppress(MarketplaceError):  # junk in the place of bytes is noticed
                assert store.read(name) == PHOTOS[name]
        else:
            store.add(name, stamp(PHOTOS[name]), PHOTOS[name])
    store.close()
    again = PhotoStore(folder)
    assert all(again.read(name) == PHOTOS[name] for name in PHOTOS if name not in kept)


def test_a_crash_loses_no_more_than_the_last_photo(tmp_path: Path) -> None:
    filled(tmp_path).close()
    os.truncate(tmp_path / "000.photos", (tmp_path / "000.photos").stat().st_size - 1)
    store = PhotoStore(tmp_path)
    assert len(store) == len(PHOTOS) - 1
    assert all(store.read(name) == PHOTOS[name] for name in PHOTOS if name in store)


def test_a_verdict_outlives_the_run(tmp_path: Path) -> None:
    store = filled(tmp_path)
    first, second, *rest = PHOTOS
    assert store.unchecked == list(PHOTOS)
    store.settle({first: True, second: False})
    store.close()
    again = PhotoStore(tmp_path)
    assert again.unchecked == rest
    assert first in again
    assert second not in again
    again.add(second, stamp(PHOTOS[second]), PHOTOS[second])  # a new version has to be checked again
    again.close()
    assert PhotoStore(tmp_path).unchecked == [*rest, second]


def test_bytes_that_rotted_are_noticed(tmp_path: Path) -> None:
    filled(tmp_path).close()
    path = tmp_path / "000.photos"
    content = bytearray(path.read_bytes())
    name = max(PHOTOS, key=lambda name: len(PHOTOS[name]))
    content[content.index(PHOTOS[name]) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(MarketplaceError, match="is damaged: delete it"):
        PhotoStore(tmp_path).read(name)
