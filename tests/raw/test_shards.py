"""Shards: the same photos give the same bytes, and no damage goes unnoticed."""

import contextlib
import io
import tarfile
import tempfile
from pathlib import Path

import pytest
from helpers.dumps import files_in
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketplace.common.errors import MarketplaceError
from marketplace.raw.shards import StoredPhotos, read_shard, shard_of, shard_paths, write_shards

PHOTOS = st.dictionaries(st.from_regex(r"[a-zé0-9-]{1,40}\.jpg", fullmatch=True), st.binary(max_size=2000), max_size=20)


@given(photos=PHOTOS, n_shards=st.integers(1, 5))
@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_photos_come_out_as_they_went_in(
    tmp_path_factory: pytest.TempPathFactory, photos: dict[str, bytes], n_shards: int
) -> None:
    folder = tmp_path_factory.mktemp("shards") / "images"
    write_shards(sorted(photos.items()), folder, n_shards)
    read = [item for path in shard_paths(folder) for item in read_shard(path)]
    assert dict(read) == photos
    assert len(read) == len(photos)
    assert len(shard_paths(folder)) == n_shards
    for index, path in enumerate(shard_paths(folder)):
        names = [name for name, _ in read_shard(path)]
        assert names == sorted(names)
        assert all(shard_of(name.removesuffix(".jpg"), n_shards) == index for name in names)


@given(photos=PHOTOS.filter(bool), data=st.data())
@hypothesis_settings(max_examples=30, deadline=None)
def test_one_new_photo_changes_one_shard(
    tmp_path_factory: pytest.TempPathFactory, photos: dict[str, bytes], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    without = dict(photos)
    del without[data.draw(st.sampled_from(sorted(photos)))]
    for name, packed in (("all", photos), ("again", photos), ("without", without)):
        write_shards(sorted(packed.items()), folder / name, 4)
    shards = files_in(folder / "all")
    assert files_in(folder / "again") == shards
    assert [files_in(folder / "without")[name] == shards[name] for name in shards].count(False) == 1


@given(
    photos=st.dictionaries(st.from_regex(r"a[aé/.-]{0,250}\.jpg", fullmatch=True), st.binary(max_size=1100), max_size=9)
)
@hypothesis_settings(max_examples=30, deadline=None)
def test_a_shard_has_the_bytes_that_tarfile_writes(
    tmp_path_factory: pytest.TempPathFactory, photos: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("shards") / "images"
    write_shards(sorted(photos.items()), folder, 1)
    expected = io.BytesIO()
    with tarfile.open(folder / "000.tar") as shard, tarfile.open(fileobj=expected, mode="w") as tar:
        for member in shard:
            plain = tarfile.TarInfo(member.name)
            plain.size = member.size
            tar.addfile(plain, shard.extractfile(member))
    assert (folder / "000.tar").read_bytes() == expected.getvalue()


def test_names_must_be_distinct_and_ascending(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="distinct and ascending"):
        write_shards([("b.jpg", b""), ("a.jpg", b"")], tmp_path / "images", 1)
    with pytest.raises(ValueError, match="distinct"):
        write_shards([("b.jpg", b""), ("b.jpg", b"")], tmp_path / "again", 1)


def test_errors_about_missing_and_damaged_shards_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MarketplaceError, match="dvc repro fetch"):
        shard_paths(tmp_path)
    (tmp_path / "000.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(MarketplaceError, match=r"000\.tar is damaged"):
        list(read_shard(tmp_path / "000.tar"))


def header_offsets(content: bytes) -> list[int]:
    """Return where the headers of a tar file's members begin."""
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return [member.offset for member in tar]


@given(data=st.data())
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_makes_a_shard_shorter(tmp_path: Path, data: st.DataObject) -> None:
    """Change a byte anywhere, cut the file anywhere or between members, or overwrite a header with zeros."""
    photos = [(f"{number:02}.jpg", bytes([number]) * (300 * number + 1)) for number in range(12)]
    folder = Path(tempfile.mkdtemp(dir=tmp_path)) / "images"
    write_shards(photos, folder, 1)
    path = folder / "000.tar"
    content = bytearray(path.read_bytes())
    headers = header_offsets(bytes(content))
    kind = data.draw(st.sampled_from(["flip", "cut", "cut at a border", "zeros"]))
    if kind == "flip":
        place = data.draw(st.integers(0, headers[-1] + 400))
        content[place] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del content[data.draw(st.integers(0, headers[-1] + 511)) :]
    elif kind == "cut at a border":
        del content[data.draw(st.sampled_from(headers)) :]
    else:
        place = data.draw(st.sampled_from(headers))
        content[place : place + 512] = bytes(512)
    path.write_bytes(content)
    try:
        read = list(read_shard(path))
    except MarketplaceError as error:
        assert "is damaged" in str(error)
    else:
        assert read == photos  # the byte was padding, or the value of a number is the same


def header(size: int, kind: bytes) -> bytes:
    """Make a header of tar."""
    member = tarfile.TarInfo("x")
    member.size = size
    member.type = kind
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "content",
    [
        (header(9, tarfile.XHDTYPE) + b"9 a=bcd\n\n".ljust(512, b"\0")) * 2000,
        (header(9, tarfile.GNUTYPE_LONGNAME) + b"name".ljust(512, b"\0")) * 2000,
        header(2**62, tarfile.REGTYPE),
        header(-5, tarfile.REGTYPE),
        header(30, tarfile.XHDTYPE) + b"30 GNU.sparse.map=a,b,c,d,e,f\n".ljust(512, b"\0") + header(5, b"0"),
    ],
    ids=["nested headers", "nested names", "huge", "negative", "sparse"],
)
def test_a_header_without_sense_is_damage(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "000.tar").write_bytes(content + bytes(1024))
    with pytest.raises(MarketplaceError, match=r"000\.tar is damaged"):
        list(read_shard(tmp_path / "000.tar"))
    with contextlib.suppress(MarketplaceError, KeyError):
        StoredPhotos(tmp_path).read(0, "y")
