import errno
import json
import resource
from pathlib import Path

import numpy as np
import pytest
from helpers.full_disk import limit_file_size

from marketplace.common.files import release_pages, replacing, write_array, write_json


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


@pytest.mark.parametrize("array", [np.arange(12).reshape(3, 4)[:, ::2], np.empty((0, 2, 2, 3), np.uint8)])
def test_a_written_array_is_a_npy_file(tmp_path: Path, array: np.ndarray) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        write_array(file, array)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)
    assert np.load(tmp_path / "a.npy").dtype == array.dtype
