"""The store of photos: what a crash, damage or a new version of a photo leaves in it."""

import contextlib
import hashlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from helpers.paths import ROOT
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketplace.common.errors import MarketplaceError
from marketplace.sources.photo_store import FILE_NAME, PhotoStore, Stamp

PHOTOS = {f"photo {i}.jpg": bytes([i]) * (i * 97 % 1500) for i in range(40)}


def stamp_of(content: bytes, version: str = "1") -> Stamp:
    return Stamp(size=len(content), version=version)


def fill(store: PhotoStore) -> None:
    for name, content in PHOTOS.items():
        store.add(name, stamp_of(content), content)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PhotoStore]:
    """A store that holds PHOTOS, opened again after they were added."""
    with closing(PhotoStore(tmp_path)) as new_store:
        fill(new_store)
    with closing(PhotoStore(tmp_path)) as reopened:
        yield reopened


def test_photos_come_back_with_their_stamps(store: PhotoStore) -> None:
    assert store.stamps() == {name: stamp_of(content) for name, content in PHOTOS.items()}
    assert store.unchecked() == {name: hashlib.sha256(content).hexdigest() for name, content in PHOTOS.items()}
    for name, content in PHOTOS.items():
        assert store.read(name) == content


def test_the_newest_version_counts_and_dropped_photos_take_no_space(store: PhotoStore, tmp_path: Path) -> None:
    size = (tmp_path / FILE_NAME).stat().st_size
    for version in ("2", "3"):
        for name, content in PHOTOS.items():
            store.add(name, stamp_of(content + b"new", version), content + b"new")
    assert (tmp_path / FILE_NAME).stat().st_size < 1.2 * size
    names = list(PHOTOS)
    store.drop(names[10:])
    assert (tmp_path / FILE_NAME).stat().st_size < 0.6 * size
    with closing(PhotoStore(tmp_path)) as reopened:
        assert reopened.stamps() == {name: stamp_of(PHOTOS[name] + b"new", "3") for name in names[:10]}
        assert all(reopened.read(name) == PHOTOS[name] + b"new" for name in names[:10])


def test_a_check_outlives_the_run(store: PhotoStore, tmp_path: Path) -> None:
    first, second, *rest = PHOTOS
    store.mark_checked([first])
    store.drop([second])
    with closing(PhotoStore(tmp_path)) as reopened:
        assert set(reopened.unchecked()) == set(rest)
        assert first in reopened.stamps()
        assert second not in reopened.stamps()
        for name in (first, second):  # a new version has to be checked again
            reopened.add(name, stamp_of(b"new", "2"), b"new")
    assert set(store.unchecked()) == set(PHOTOS)


PROGRAM = """
import itertools
from pathlib import Path
from marketplace.sources.photo_store import PhotoStore, Stamp
store = PhotoStore(Path())
for number in itertools.count():
    content = number.to_bytes(4) * 5000
    store.add(f"{number}.jpg", Stamp(size=len(content), version="1"), content)
    print(number, flush=True)
"""


@pytest.mark.parametrize("n_photos", [1, 7, 50])
def test_a_killed_process_loses_no_photo_that_it_added(tmp_path: Path, n_photos: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for _ in range(n_photos):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    added = n_photos + len(process.stdout.readlines())
    process.wait()
    process.stdout.close()
    with closing(PhotoStore(tmp_path)) as store:
        assert len(store.stamps()) in (added, added + 1)  # it may have been killed before it said so
        for name in store.stamps():
            assert store.read(name) == int(name.removesuffix(".jpg")).to_bytes(4) * 5000


@given(data=st.data())
@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_is_taken_for_a_photo(
    tmp_path_factory: pytest.TempPathFactory, store: PhotoStore, tmp_path: Path, data: st.DataObject
) -> None:
    """A byte that is changed anywhere in the file, a cut anywhere."""
    folder = tmp_path_factory.mktemp("damaged")
    content = bytearray((tmp_path / FILE_NAME).read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        del content[place:]
    (folder / FILE_NAME).write_bytes(content)
    with contextlib.suppress(MarketplaceError), closing(PhotoStore(folder)) as damaged:
        for name in damaged.stamps():
            with contextlib.suppress(MarketplaceError):
                assert damaged.read(name) == PHOTOS[name]


def test_a_damaged_photo_is_dropped_and_the_others_are_kept(store: PhotoStore, tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    content = bytearray(path.read_bytes())
    name = max(PHOTOS, key=lambda name: len(PHOTOS[name]))
    content[content.index(PHOTOS[name][:500]) + 5] ^= 1
    path.write_bytes(content)
    with closing(PhotoStore(tmp_path)) as damaged:
        with pytest.raises(MarketplaceError, match=r"had a damaged copy of 'photo .*: run the stage again"):
            damaged.read(name)
        assert damaged.stamps().keys() == PHOTOS.keys() - {name}
        assert all(damaged.read(other) == PHOTOS[other] for other in damaged.stamps())


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"junk" * 1000)
    with pytest.raises(MarketplaceError, match=r"photos\.sqlite cannot be used .*: delete it and run the stage again"):
        PhotoStore(tmp_path)


def test_a_store_of_the_old_format_is_deleted(tmp_path: Path) -> None:
    for name in ("000.photos", "000.index", "063.photos", "063.index"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "lock").touch()
    with closing(PhotoStore(tmp_path)) as store:
        assert store.stamps() == {}
    assert {path.name for path in tmp_path.iterdir()} == {"lock", FILE_NAME}
