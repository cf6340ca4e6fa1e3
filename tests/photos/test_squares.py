"""Photos scaled onto squares, and their arrays, one per shard."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cykooz_resizer import CpuExtensions, Resizer
from helpers.photos import saved, scene
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from marketplace.cluster.placement import map_shards
from marketplace.compute.arrays import ShardedArray
from marketplace.photos import squares
from marketplace.photos.squares import letterbox, resize_shards
from marketplace.raw.shards import image_id_of, shard_of, write_shards


@given(width=st.integers(1, 400), height=st.integers(1, 400), size=st.integers(32, 96))
@hypothesis_settings(max_examples=40, deadline=None)
def test_the_whole_picture_lies_centred_on_a_white_square(width: int, height: int, size: int) -> None:
    square = letterbox(np.array(Image.new("RGB", (width, height), (10, 20, 30))), size)
    assert square.shape == (size, size, 3)
    assert square.dtype == np.uint8
    inside = (square == (10, 20, 30)).all(axis=2)
    assert ((square == 255).all(axis=2) | inside).all()
    rows = np.flatnonzero(inside.any(axis=1))
    columns = np.flatnonzero(inside.any(axis=0))
    assert max(len(rows), len(columns)) == size
    for used in (rows, columns):
        assert abs((used[0] - 0) - (size - 1 - used[-1])) <= 1
    expected = max(1, round(size * min(width, height) / max(width, height)))
    assert abs(min(len(rows), len(columns)) - expected) <= 1


@pytest.mark.parametrize("n_shards", [1, 5])
def test_each_shard_gives_an_array_of_the_listed_images(tmp_path: Path, n_shards: int) -> None:
    photos = {f"id{i:02}.jpg": scene(40 + i, 90 - i) for i in range(12)}
    write_shards(
        sorted((name, saved(image, format="PNG")) for name, image in photos.items()), tmp_path / "images", n_shards
    )
    table = pd.DataFrame({"file": sorted(photos, reverse=True)[1::2]})  # not the order of the shard
    table["shard"] = [shard_of(image_id_of(name), n_shards) for name in table["file"]]
    table = table.sort_values("shard", kind="stable", ignore_index=True)
    targets = {tmp_path / "small": 32, tmp_path / "full": 48}
    resize_shards(tmp_path / "images", table, targets)
    for folder, size in targets.items():
        assert [path.name for path in sorted(folder.iterdir())] == [f"{n:03}.npy" for n in range(n_shards)]
        expected = np.stack([letterbox(np.array(photos[name]), size) for name in table["file"]])
        assert (ShardedArray(folder)[:] == expected).all()

    table.loc[0, "file"] = "stranger.jpg"
    with pytest.raises(ValueError, match="photos"):
        resize_shards(tmp_path / "images", table, {tmp_path / "x": 32})
    assert not list((tmp_path / "x").glob(f"{table.loc[0, 'shard']:03}*"))


def test_what_a_killed_worker_was_writing_is_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work_after_a_killed_worker(work: Any, tasks: list[tuple[Any, ...]], description: str) -> Iterator[Any]:
        (tmp_path / "squares/000.npy.another-machine.7.part").write_bytes(b"half of it")
        yield from map_shards(work, tasks, description)

    monkeypatch.setattr(squares, "map_shards", work_after_a_killed_worker)
    write_shards([("a.jpg", saved(scene(), format="PNG"))], tmp_path / "images", 1)
    resize_shards(tmp_path / "images", pd.DataFrame({"file": ["a.jpg"], "shard": [0]}), {tmp_path / "squares": 32})
    assert [path.name for path in (tmp_path / "squares").iterdir()] == ["000.npy"]


@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300), (40, 30)])
def test_scaling_is_pillows_bicubic(width: int, height: int) -> None:
    image = scene(width, height)
    square = letterbox(np.array(image), 96)
    used = (96, round(96 * height / width)) if width > height else (round(96 * width / height), 96)
    left = (96 - used[0]) // 2
    top = (96 - used[1]) // 2
    expected = np.asarray(image.resize(used, Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(square[top : top + used[1], left : left + used[0]] - expected).max() <= 2


def test_every_processor_makes_the_same_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [np.array(scene(width, height)) for width, height in ((300, 200), (97, 411), (40, 30), (1, 500))]
    usual = [letterbox(image, size) for image in images for size in (32, 96)]

    class Plain(Resizer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.cpu_extensions = CpuExtensions.none

    monkeypatch.setattr(squares, "Resizer", Plain)
    plain = [letterbox(image, size) for image in images for size in (32, 96)]
    assert all(np.array_equal(one, other) for one, other in zip(usual, plain, strict=True))
