"""S3 stores that lie, and stores that never end: memory and time are bounded, and no other bytes are packed."""

import base64
import itertools
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from helpers.dumps import MakeSettings, fetch_files, files_in, photos_in, small_dump
from helpers.lying_s3 import Answer, LyingStore, listing_entry, listing_page, plain_answer, serve

from marketplace.common.errors import MarketplaceError
from marketplace.sources import bounds, mirror, s3_client

VICTIM = "images/image007.jpg"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a small dump, by key."""
    return files_in(small_dump(16).write(tmp_path_factory.mktemp("dump") / "small"))


@pytest.fixture
def settings_for(from_s3: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> MakeSettings:
    """Make settings for a store at a URL, whose silence is noticed soon."""
    monkeypatch.setattr(s3_client, "STALL_SECONDS", 0.5)
    return lambda url: from_s3("s3://bucket", endpoint_url=url)


class OtherBytes(LyingStore):
    """Sends other bytes of the same size in place of one photo, or of a table."""

    def __init__(self, files: dict[str, bytes], victim: str, headers: dict[str, str]) -> None:
        super().__init__(files)
        self._victim = victim
        self._headers = headers

    def answer(self, key: str) -> Answer:
        content = self.files[key]
        if key != self._victim:
            return super().answer(key)
        return plain_answer(content[::-1], **(self._headers or {"ETag": plain_answer(content).headers["ETag"]}))


CRC32 = base64.b64encode(zlib.crc32(b"another content").to_bytes(4)).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {},  # the ETag that is listed
        {"ETag": '"another"'},
        {"ETag": ""},
        {"ETag": '"0123456789abcdef0123456789abcdef-2"', "x-amz-checksum-crc32": CRC32},
    ],
    ids=["another content", "another ETag", "no ETag", "another checksum"],
)
def test_other_bytes_of_the_same_size_are_not_packed(
    settings_for: MakeSettings, files: dict[str, bytes], tmp_path: Path, headers: dict[str, str]
) -> None:
    store = OtherBytes(files, VICTIM, headers)
    if "x-amz-checksum-crc32" in headers:  # the ETag is the listed one, and is no MD5
        store.page = lambda prefix, token: plain_answer(  # type: ignore[method-assign]
            listing_page(
                "".join(
                    listing_entry(key, content) for key, content in files.items() if key.startswith(prefix)
                ).replace(plain_answer(files[VICTIM]).headers["ETag"], headers["ETag"])
            )
        )
    with (
        serve(store) as url,
        pytest.raises(MarketplaceError, match=r"1 photos do not arrive as listed, such as 'image007"),
    ):
        fetch_files(settings_for(url), tmp_path / "raw")
    assert not (tmp_path / "raw" / "images").exists()


def test_a_table_with_other_bytes_is_not_taken(
    settings_for: MakeSettings, files: dict[str, bytes], tmp_path: Path
) -> None:
    with (
        serve(OtherBytes(files, "products.csv", {})) as url,
        pytest.raises(MarketplaceError, match=r"products\.csv arrived with other bytes than its length and ETag say"),
    ):
        fetch_files(settings_for(url), tmp_path / "raw")


@pytest.mark.parametrize("etag", ['"0123456789abcdef0123456789abcdef-2"', '"0123456789abcdef0123456789abcdef"'])
def test_an_etag_that_is_no_md5_does_no_harm(
    settings_for: MakeSettings, files: dict[str, bytes], tmp_path: Path, etag: str
) -> None:
    """As after an upload in parts, or with a customer's key."""

    class Encrypted(LyingStore):
        def answer(self, key: str) -> Answer:
            headers = {"ETag": etag, "x-amz-server-side-encryption": "aws:kms"}
            return plain_answer(self.files[key], **(headers if key == VICTIM else {}))

        def page(self, prefix: str, token: str | None) -> Answer:
            page = b"".join(super().page(prefix, token).parts).decode()
            return plain_answer(page.replace(plain_answer(files[VICTIM]).headers["ETag"], etag).encode())

    with serve(Encrypted(files)) as url:
        fetch_files(settings_for(url), tmp_path / "raw")
    assert photos_in(tmp_path / "raw")["image007.jpg"] == files[VICTIM]


class Drip:
    """A byte now and then, which is never silence."""

    def __iter__(self) -> Iterator[bytes]:
        while True:
            time.sleep(0.1)
            yield b"x"


class Endless(LyingStore):
    """Sends an endless body for one key, or in place of every page."""

    def __init__(self, files: dict[str, bytes], victim: str, parts: Iterable[bytes], status: int = 200) -> None:
        super().__init__(files)
        self._victim = victim
        self._answer = Answer(parts=parts, headers={"ETag": plain_answer(files.get(victim, b"")).headers["ETag"]})
        self._answer.status = status

    def answer(self, key: str) -> Answer:
        return self._answer if key == self._victim else super().answer(key)

    def page(self, prefix: str, token: str | None) -> Answer:
        return self._answer if self._victim == "page" else super().page(prefix, token)


@pytest.mark.parametrize(
    ("victim", "status", "message"),
    [
        ("products.csv", 200, r"products\.csv has more than 1\.0 MB, the most that a fetch takes"),
        ("products.csv", 404, "S3 answered with more than"),
        ("page", 200, "S3 answered with more than 16.8 MB where a page of a listing has a tenth"),
        (VICTIM, 200, "do not arrive as listed, such as 'image007.jpg'"),
    ],
    ids=["table", "error", "page", "photo"],
)
def test_an_endless_body_ends(
    settings_for: MakeSettings,
    files: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    victim: str,
    status: int,
    message: str,
) -> None:
    monkeypatch.setattr(bounds, "MAX_TABLE_BYTES", 10**6)
    with (
        serve(Endless(files, victim, itertools.repeat(bytes(2**16)), status)) as url,
        pytest.raises(MarketplaceError, match=message),
    ):
        fetch_files(settings_for(url), tmp_path / "raw")


@pytest.mark.parametrize("victim", ["page", VICTIM])
def test_a_trickle_is_not_waited_for(
    settings_for: MakeSettings, files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    monkeypatch.setattr(mirror, "RETRY_PAUSES", (0.0,) if victim == VICTIM else ())
    with serve(Endless(files, victim, Drip())) as url, pytest.raises(MarketplaceError, match="retries did not help"):
        fetch_files(settings_for(url), tmp_path / "raw")


class EndlessPages(LyingStore):
    """Has another page after each: the same one, or one without photos."""

    def __init__(self, files: dict[str, bytes], entries: str) -> None:
        super().__init__(files)
        self._entries = entries
        self._tokens = itertools.count()

    def page(self, prefix: str, token: str | None) -> Answer:
        return plain_answer(listing_page(self._entries, f"token {next(self._tokens)}"))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("", "has no end: it goes on without photos"),
        (listing_entry("images/a.jpg", b"x") * 100, "lists more than .* files"),
        ("<Contents><Key>images/a.jpg</Key></Contents>", "lacks a key, a size or an ETag"),
        ("<Contents><Key>images/a.jpg</Key><Size>many</Size></Contents>", "cannot request"),
    ],
)
def test_a_listing_without_end_or_sense_is_one_sentence(
    settings_for: MakeSettings,
    files: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    entries: str,
    message: str,
) -> None:
    monkeypatch.setattr(mirror, "MAX_PHOTOS", 1000)
    with serve(EndlessPages(files, entries)) as url, pytest.raises(MarketplaceError, match=message):
        fetch_files(settings_for(url), tmp_path / "raw")


def test_a_file_that_is_too_large_for_a_photo_is_left_behind_by_name(
    settings_for: MakeSettings, files: dict[str, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Backup(LyingStore):
        def page(self, prefix: str, token: str | None) -> Answer:
            page = b"".join(super().page(prefix, token).parts).decode()
            size = f"<Size>{len(files[VICTIM])}</Size>"
            key = f"<Key>{VICTIM}</Key>"
            return plain_answer(page.replace(key + size, f"{key}<Size>30000000000</Size>").encode())

    with serve(Backup(files)) as url:
        fetch_files(settings_for(url), tmp_path / "raw")
    assert "1 files in images/ are left behind, such as 'image007.jpg' (30.0 GB)" in caplog.text
    assert len(photos_in(tmp_path / "raw")) == 15


def test_photos_that_are_read_at_once_have_bounded_bytes(
    settings_for: MakeSettings, files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from marketplace.sources import read_ahead

    monkeypatch.setattr(read_ahead, "MAX_AHEAD_BYTES", 2 * max(map(len, files.values())))
    under_way = 0
    most = 0

    class Counting(LyingStore):
        def answer(self, key: str) -> Answer:
            nonlocal under_way, most
            under_way += key.startswith("images/")
            most = max(most, under_way)
            time.sleep(0.01)
            under_way -= key.startswith("images/")
            return super().answer(key)

    with serve(Counting(files)) as url:
        fetch_files(settings_for(url), tmp_path / "raw")
    assert 1 < most <= 8
