"""Reading single photos from shards."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from marketplace.common.errors import MarketplaceError
from marketplace.raw.shards import StoredPhotos, read_shard, shard_of, shard_paths, write_shards

FILES = [(f"photo{number:03}.jpg", bytes([number]) * (number + 1)) for number in range(200)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_shards(FILES, tmp_path / "images", 3)
    return tmp_path / "images"


def test_each_photo_has_the_bytes_that_were_packed(folder: Path) -> None:
    photos = StoredPhotos(folder)
    for number, path in enumerate(shard_paths(folder)):
        for name, content in read_shard(path):
            assert photos.read(number, name) == content


def test_many_threads_may_read(folder: Path) -> None:
    for _ in range(20):
        photos = StoredPhotos(folder)
        with ThreadPoolExecutor(8) as pool:
            shards = [shard_of(name.removesuffix(".jpg"), 3) for name, _ in FILES]
            contents = pool.map(photos.read, shards, [name for name, _ in FILES])
            assert list(contents) == [content for _, content in FILES]


def test_replacing_a_shard_makes_no_difference(folder: Path) -> None:
    photos = StoredPhotos(folder)
    name, content = next(read_shard(folder / "000.tar"))
    (folder / "000.tar").unlink()
    (folder / "000.tar").write_bytes(b"another run's")
    assert photos.read(0, name) == content


def test_a_missing_photo_or_shard_is_an_error(folder: Path) -> None:
    photos = StoredPhotos(folder)
    with pytest.raises(KeyError):
        photos.read(0, "nothing.jpg")
    with pytest.raises(MarketplaceError, match="has no shard 3"):
        photos.read(3, "photo000.jpg")
    (folder / "000.tar").write_bytes(b"x" * 2000)
    with pytest.raises(MarketplaceError, match=r"000\.tar is damaged"):
        StoredPhotos(folder).read(0, "photo000.jpg")
    (folder / "000.tar").write_bytes(b"")
    with pytest.raises(MarketplaceError, match=r"000\.tar is damaged"):
        StoredPhotos(folder)
