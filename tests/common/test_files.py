import errno
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.common.files import is_sealed, release_pages, replacing, seal, user_cache, write_array, write_json


@contextmanager
def limit_file_size(nbytes: int) -> Iterator[None]:
    """Stop files of this process from growing beyond `nbytes`, like a full disk (EFBIG in place of ENOSPC)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with replacing(path) as part:
        part.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first"
    with pytest.raises(KeyboardInterrupt), replacing(path) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "first"
    assert names(path.parent) == ["file"]


def test_a_folder_replaces_another_and_the_leftovers_of_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    leftover = tmp_path / "folder.part"
    for folder in (path, leftover):
        folder.mkdir()
        (folder / "old").write_text("old")
    with replacing(path) as part:
        part.mkdir()
        (part / "new").write_text("new")
    assert names(path) == ["new"]
    assert names(tmp_path) == ["folder"]


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())
    write_json(tmp_path / "x.json", {"name": "Café", "loss": 1.5})
    assert json.loads((tmp_path / "x.json").read_text()) == {"name": "Café", "loss": 1.5}


def test_an_array_that_does_not_fit_on_the_disk_raises_the_systems_error(tmp_path: Path) -> None:
    with limit_file_size(1 << 20), (tmp_path / "large.npy").open("wb") as file, pytest.raises(OSError) as caught:
        write_array(file, np.zeros(1 << 22, np.uint8))
    assert caught.value.errno in (errno.EFBIG, errno.ENOSPC)


def resident_bytes() -> int:
    """Return the memory of this process in bytes, including pages of mapped files."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_released_pages_of_a_mapped_file_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "array.npy"
    np.save(path, np.zeros((64, 2**20), np.uint8))
    array = np.load(path, mmap_mode="r+")
    array[:] = 7
    before = resident_bytes()
    release_pages(array)
    assert before - resident_bytes() > 50 * 2**20
    assert (array == 7).all()
    release_pages(np.zeros(3))  # nothing is mapped, nothing to do
    assert (np.load(path) == 7).all()


@given(st.binary(max_size=300), st.data())
def test_a_seal_sees_every_change(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("seal") / "file"
    path.write_bytes(content)
    assert not is_sealed(path)
    seal(path)
    assert is_sealed(path)
    sealed = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(sealed) - 1))
    if data.draw(st.booleans()):
        sealed[place] ^= data.draw(st.integers(1, 255))
    else:
        del sealed[place:]
    path.write_bytes(sealed)
    assert not is_sealed(path)


def test_a_cache_that_cannot_be_written_to_is_replaced_by_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path / "file"))
    folder = user_cache("features")
    (folder / "x").write_text("there")
    assert user_cache("features") == folder
    assert "cannot be written to: going on without it ($MARKETPLACE_CACHE names another)" in caplog.text


@pytest.mark.parametrize("array", [np.arange(12).reshape(3, 4)[:, ::2], np.empty((0, 2, 2, 3), np.uint8)])
def test_a_written_array_is_a_npy_file(tmp_path: Path, array: np.ndarray) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        write_array(file, array)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)
    assert np.load(tmp_path / "a.npy").dtype == array.dtype
