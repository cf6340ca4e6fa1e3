from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.common.errors import MarketplaceError
from marketplace.compute.arrays import RowFile, ShardedArray, release_images


def write_shards(folder: Path, lengths: list[int]) -> tuple[ShardedArray, np.ndarray]:
    """Write arrays of these lengths to a folder; return them as a sharded array and as one plain array."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = np.random.default_rng(0).integers(0, 256, (sum(lengths), 2, 2, 3), dtype=np.uint8)
    for number, part in enumerate(np.split(whole, np.cumsum(lengths)[:-1])):
        np.save(folder / f"{number:03}.npy", part)
    return ShardedArray(folder), whole


@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=6), data=st.data())
def test_it_is_indexed_like_one_array(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], data: st.DataObject
) -> None:
    array, whole = write_shards(tmp_path_factory.mktemp("shards"), lengths)
    assert (len(array), array.shape, array.dtype) == (len(whole), whole.shape, whole.dtype)
    rows = data.draw(st.lists(st.integers(-len(whole), len(whole) - 1))) if len(whole) else []
    np.testing.assert_array_equal(array[np.array(rows, dtype=int)], whole[np.array(rows, dtype=int)])
    part = data.draw(st.slices(len(whole)))
    np.testing.assert_array_equal(array[part], whole[part])
    for row in rows[:2]:
        np.testing.assert_array_equal(array[row], whole[row])
    release_images(array)
    np.testing.assert_array_equal(array[:], whole)


def test_missing_rows_and_bad_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(MarketplaceError, match="has no arrays: run `dvc repro`"):
        ShardedArray(tmp_path)
    array, _ = write_shards(tmp_path, [2, 3])
    with pytest.raises(IndexError):
        array[5]
    np.save(tmp_path / "002.npy", np.zeros((1, 4, 4, 3), np.uint8))
    with pytest.raises(MarketplaceError, match=r"002.npy does not match .*000.npy"):
        ShardedArray(tmp_path)
    (tmp_path / "002.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(MarketplaceError, match=r"002.npy is damaged"):
        ShardedArray(tmp_path)


def test_rows_can_be_written_in_any_order(tmp_path: Path) -> None:
    rows = np.arange(24, dtype=np.int16).reshape(4, 3, 2)
    with (tmp_path / "000.npy").open("wb") as file:
        array = RowFile(file, rows.shape, rows.dtype)
        for row in (2, 0, 3, 1):
            array.write(row, rows[row].T.copy().T)  # not contiguous
    with (tmp_path / "001.npy").open("wb") as file:
        RowFile(file, (0, 3, 2), rows.dtype)
    np.testing.assert_array_equal(ShardedArray(tmp_path)[:], rows)
