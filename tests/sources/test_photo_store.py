"""The store of photos: what a crash, damage or a new version of a photo leaves in it."""

import hashlib
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from helpers.paths import ROOT
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketplace.common.errors import MarketplaceError
from marketplace.sources import photo_store
from marketplace.sources.photo_store import BATCH_BYTES, FILE_NAME, PhotoStore, Stamp

PHOTOS = {f"photo {i}.jpg": bytes([i]) * (i * 97 % 1500) for i in range(40)}


def stamp_of(content: bytes, version: str = "1") -> Stamp:
    return Stamp(size=len(content), version=version)


def fill(store: PhotoStore) -> None:
    for name, content in PHOTOS.items():
        store.add(name, stamp_of(content), content)


def complete(store: PhotoStore) -> None:
    """Do as a fetch does: add missing photos, and drop others."""
    stamps = store.stamps()
    for name, content in PHOTOS.items():
        if stamps.get(name) != stamp_of(content):
            store.add(name, stamp_of(content), content)
    store.drop(store.stamps().keys() - PHOTOS.keys())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a store that holds PHOTOS."""
    with closing(PhotoStore(tmp_path)) as store:
        fill(store)
    return tmp_path


def test_photos_come_back_with_their_stamps(folder: Path) -> None:
    with closing(PhotoStore(folder)) as store:
        assert store.stamps() == {name: stamp_of(content) for name, content in PHOTOS.items()}
        assert store.pending_checks() == {name: hashlib.sha256(PHOTOS[name]).hexdigest() for name in PHOTOS}
        assert {name: store.read(name) for name in PHOTOS} == PHOTOS


def test_the_newest_version_counts_and_dropped_photos_take_no_space(folder: Path) -> None:
    size = (folder / FILE_NAME).stat().st_size
    with closing(PhotoStore(folder)) as store:
        for version in ("2", "3"):
            for name, content in PHOTOS.items():
                store.add(name, stamp_of(content + b"new", version), content + b"new")
    assert (folder / FILE_NAME).stat().st_size < 1.2 * size
    names = list(PHOTOS)
    with closing(PhotoStore(folder)) as store:
        store.drop(names[10:])
    assert (folder / FILE_NAME).stat().st_size < 0.6 * size
    with closing(PhotoStore(folder)) as store:
        assert store.stamps() == {name: stamp_of(PHOTOS[name] + b"new", "3") for name in names[:10]}
        assert all(store.read(name) == PHOTOS[name] + b"new" for name in names[:10])


def test_a_check_outlives_the_run(folder: Path) -> None:
    first, second, *rest = PHOTOS
    with closing(PhotoStore(folder)) as store:
        store.mark_checked([first])
        store.drop([second])
    with closing(PhotoStore(folder)) as store:
        assert store.stamps().keys() == {first, *rest}
        assert store.pending_checks().keys() == set(rest)
        for name in (first, second):  # a new version has to be checked again
            store.add(name, stamp_of(b"new", "2"), b"new")
        assert store.pending_checks().keys() == PHOTOS.keys()


PROGRAM = """
import itertools
from pathlib import Path
from marketplace.sources import photo_store
from marketplace.sources.photo_store import PhotoStore, Stamp
store = PhotoStore(Path())
for number in itertools.count():
    content = number.to_bytes(4) * 5000
    store.add(f"{number}.jpg", Stamp(size=len(content), version="1"), content)
    print(number, flush=True)
"""


@pytest.mark.parametrize("n_photos", [1, 7, 50])
def test_a_killed_process_loses_only_the_last_photos_that_it_added(tmp_path: Path, n_photos: int) -> None:
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
        # It may have been killed before it said that it had added one more.
        assert added - BATCH_BYTES // 20_000 - 1 <= len(store.stamps()) <= added + 1
        assert store.stamps().keys() == {f"{number}.jpg" for number in range(len(store.stamps()))}
        for name in store.stamps():
            assert store.read(name) == int(name.removesuffix(".jpg")).to_bytes(4) * 5000


@given(share=st.floats(0, 1), junk=st.binary(max_size=300))
@hypothesis_settings(max_examples=50, deadline=None)
def test_photos_that_reached_the_disk_survive_a_power_failure(
    tmp_path_factory: pytest.TempPathFactory, share: float, junk: bytes
) -> None:
    """Cut SQLite's log, which is on the disk to some point, and continue it with junk."""
    folder = tmp_path_factory.mktemp("store")
    crashed = tmp_path_factory.mktemp("crashed")
    with pytest.MonkeyPatch.context() as patch, closing(PhotoStore(folder)) as store:
        patch.setattr(photo_store, "BATCH_BYTES", 2000)  # several photos
        fill(store)
        assert len(store.stamps()) == len(PHOTOS)  # which also writes the last batch
        for path in folder.iterdir():
            shutil.copy(path, crashed)
    log = crashed / f"{FILE_NAME}-wal"
    content = log.read_bytes()
    log.write_bytes(content[: round(share * len(content))] + junk)
    with closing(PhotoStore(crashed)) as store:
        names = list(PHOTOS)[: len(store.stamps())]
        assert store.stamps().keys() == set(names)
        assert all(store.read(name) == PHOTOS[name] for name in names)
        assert len(names) == len(PHOTOS) or share < 1
        fill(store)
    with closing(PhotoStore(crashed)) as store:
        assert {name: store.read(name) for name in PHOTOS} == PHOTOS


@given(data=st.data())
@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_is_taken_for_a_photo_and_the_advice_of_the_error_heals_it(
    tmp_path_factory: pytest.TempPathFactory, folder: Path, data: st.DataObject
) -> None:
    """Change a byte anywhere in the file, or cut it anywhere."""
    copy = tmp_path_factory.mktemp("damaged")
    content = bytearray((folder / FILE_NAME).read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        del content[place:]
    (copy / FILE_NAME).write_bytes(content)
    for _ in PHOTOS:  # a run may find one damaged photo, and the next another
        try:
            with closing(PhotoStore(copy)) as store:
                complete(store)
                assert {name: store.read(name) for name in PHOTOS} == PHOTOS
            return
        except MarketplaceError as error:
            if "delete it and run the stage again" in str(error):
                (copy / FILE_NAME).unlink()
            else:
                assert "run the stage again" in str(error)  # most damage is seen, not all
    pytest.fail("the advice does not help")


def test_a_damaged_photo_is_dropped_and_the_others_are_kept(folder: Path) -> None:
    content = bytearray((folder / FILE_NAME).read_bytes())
    name = max(PHOTOS, key=lambda name: len(PHOTOS[name]))
    content[content.index(PHOTOS[name][:500]) + 5] ^= 1
    (folder / FILE_NAME).write_bytes(content)
    with closing(PhotoStore(folder)) as store:
        with pytest.raises(MarketplaceError, match=r"had a damaged copy of 'photo .*: run the stage again"):
            store.read(name)
        assert store.stamps().keys() == PHOTOS.keys() - {name}
        assert all(store.read(sound) == PHOTOS[sound] for sound in store.stamps())


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


def test_a_store_that_cannot_drop_a_damaged_photo_is_named(folder: Path) -> None:
    """A name is changed, so that the names are out of order: SQLite finds a photo when it lists all, but not alone."""
    content = (folder / FILE_NAME).read_bytes()
    (folder / FILE_NAME).write_bytes(content.replace(b"\x08photo 28.jpg", b"\x08photo =8.jpg"))
    with (
        closing(PhotoStore(folder)) as store,
        pytest.raises(MarketplaceError, match=r"photos\.sqlite is damaged: delete it and run the stage again"),
    ):
        complete(store)
        for name in PHOTOS:
            store.read(name)
