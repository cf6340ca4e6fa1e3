"""Arrays in unnamed files: the same values as in memory, in blocks."""

import errno
import tracemalloc

import numpy as np
import pytest
from helpers.full_disk import limit_file_size
from hypothesis import given
from hypothesis import strategies as st

from marketplace.common.files import release_pages
from marketplace.compute import scratch
from marketplace.compute.scratch import ScratchArray, blocks_of, compute_in_blocks, take_rows


@given(order=st.permutations(range(9)), n_pieces=st.integers(1, 4))
def test_rows_come_back_whatever_the_order_of_writing(order: list[int], n_pieces: int) -> None:
    values = np.random.default_rng(0).standard_normal((12, 2, 3)).astype(np.float32)
    array = ScratchArray(values.shape, values.dtype)
    for rows in np.array_split(np.array(order), n_pieces):
        array.write(rows, values[rows])
    values[9:] = 0  # they were not written
    mapped = array.map()
    np.testing.assert_array_equal(mapped, values)
    release_pages(mapped[3:, 1])
    np.testing.assert_array_equal(mapped, values)
    with pytest.raises(ValueError, match="read-only"):
        mapped[0] = 1


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_an_array_may_be_empty(shape: tuple[int, ...]) -> None:
    assert ScratchArray(shape, np.dtype(np.float32)).map().shape == shape


@given(n_rows=st.integers(0, 10), at_once=st.integers(1, 11))
def test_blocks_are_all_rows_in_order(n_rows: int, at_once: int) -> None:
    values = np.arange(20.0).reshape(10, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch, "ROWS_AT_ONCE", at_once)
        assert [row for block in blocks_of(n_rows) for row in range(n_rows)[block]] == list(range(n_rows))
        assert list(blocks_of(n_rows)) == list(blocks_of(n_rows, at_once))
        np.testing.assert_array_equal(compute_in_blocks(lambda rows: 2 * values[rows], n_rows), 2 * values[:n_rows])
        chosen = np.random.default_rng(n_rows).integers(0, 10, n_rows)
        np.testing.assert_array_equal(take_rows(values, chosen), values[chosen])


def test_only_blocks_are_in_memory() -> None:
    rows_at_once = scratch.ROWS_AT_ONCE
    tracemalloc.start()
    compute_in_blocks(lambda rows: np.repeat(rows[:, None], 50, axis=1).astype(np.float32), 20 * rows_at_once)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * rows_at_once * 50 * 4


def test_a_full_disk_is_an_error_not_a_killed_process() -> None:
    array = ScratchArray((2**20,), np.dtype(np.float64))
    with limit_file_size(2**20), pytest.raises(OSError) as caught:
        array.write(np.arange(2**20), np.zeros(2**20))
    assert caught.value.errno == errno.EFBIG
