"""Dumps on real servers, OpenSSH and an S3 store: every byte arrives."""

from pathlib import Path

import pytest
from helpers.dumps import MakeSettings, fetch_files, files_in, photos_in, unpack
from helpers.servers import KEY_KINDS, KeyPairs, S3Server, ssh_server

from marketplace.sources import ec2
from marketplace.sources.dump import open_dump
from marketplace.sources.private_keys import PASSPHRASE_VARIABLE


def test_every_byte_arrives_over_ssh(over_ssh: MakeSettings, raw: Path, tmp_path: Path, transferred: list[str]) -> None:
    assert fetch_files(over_ssh(), tmp_path / "raw") == files_in(raw)
    n_photos = len(photos_in(raw))
    assert len(transferred) == n_photos
    assert fetch_files(over_ssh(), tmp_path / "again") == files_in(raw)
    assert len(transferred) == n_photos  # none the second time


def test_every_byte_arrives_from_a_server_that_allows_sftp_alone(
    raw: Path, keys: KeyPairs, over_ssh: MakeSettings, tmp_path: Path
) -> None:
    with ssh_server("ForceCommand internal-sftp") as plain:
        unpack(raw, plain.folder / "dump")
        plain.authorize(keys.public("id_ed25519"))
        plain.take_ownership()
        settings = over_ssh(plain)
        assert not ec2.Ec2Dump(settings.ec2).checksums([])
        assert fetch_files(settings, tmp_path / "raw") == files_in(raw)


@pytest.mark.parametrize("key", sorted(KEY_KINDS))
def test_every_kind_of_key_opens(
    over_ssh: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, raw: Path
) -> None:
    monkeypatch.setenv(PASSPHRASE_VARIABLE, KEY_KINDS[key].passphrase or "unused")
    assert open_dump(over_ssh(key=f"s3://keys/{key}")).table("images.csv") == (raw / "images.csv").read_bytes()


def test_every_byte_arrives_from_s3(
    from_s3: MakeSettings, s3: S3Server, raw: Path, tmp_path: Path, transferred: list[str]
) -> None:
    folder = unpack(raw, tmp_path / "dump")
    s3.upload("dumps", {f"2026/{name}": content for name, content in files_in(folder).items()})
    settings = from_s3("s3://dumps/2026/")
    assert fetch_files(settings, tmp_path / "raw") == files_in(raw)

    # A new photo, a changed one, a deleted one, and one whose name no file can have.
    transferred.clear()
    names = sorted(files_in(folder / "images"))
    s3.upload("dumps", {f"2026/images/{name}": b"new" for name in ("new.jpg", names[0], "un\u200bprintable.jpg")})
    s3.client().delete_object(Bucket="dumps", Key=f"2026/images/{names[1]}")
    fetch_files(settings, tmp_path / "next")
    photos = photos_in(tmp_path / "next")
    assert sorted(transferred) == sorted(["new.jpg", names[0]])
    assert set(photos) == {*names, "new.jpg"} - {names[1]}
    assert photos["new.jpg"] == photos[names[0]] == b"new"


def test_with_a_limit_only_its_photos_are_transferred(
    over_ssh: MakeSettings, tmp_path: Path, transferred: list[str]
) -> None:
    fetch_files(over_ssh(), tmp_path / "raw", limit=10)
    assert 0 < len(transferred) <= 30
