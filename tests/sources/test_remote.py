"""Dumps on real servers, OpenSSH and an S3 store of our own: every byte comes."""

from pathlib import Path

import pytest
from helpers.dumps import Configure, bring, content_of, unpack
from helpers.servers import KEYS, S3Server, ssh_server

from marketplace.raw.shards import read_shard, shard_paths
from marketplace.settings import Settings
from marketplace.sources import ec2, ssh
from marketplace.sources.dump import FetchSettings, open_dump


def test_every_byte_comes_over_ssh(over_ssh: Configure, raw: Path, tmp_path: Path, transferred: list[str]) -> None:
    assert bring(over_ssh(), tmp_path / "raw") == content_of(raw)
    n_photos = sum(1 for shard in shard_paths(raw / "images") for _ in read_shard(shard))
    assert len(transferred) == n_photos
    assert bring(over_ssh(), tmp_path / "again") == content_of(raw)
    assert len(transferred) == n_photos  # the second time, none


def test_every_byte_comes_from_a_server_that_allows_sftp_alone(
    raw: Path, keys: dict[str, str], over_ssh: Configure, tmp_path: Path
) -> None:
    with ssh_server("ForceCommand internal-sftp") as plain:
        unpack(raw, plain.folder / "dump")
        plain.authorize(Path(keys[""]) / "id_ed25519.pub")
        plain.own()
        settings = over_ssh(port=plain.port, fingerprint=plain.fingerprint, path=f"{plain.folder}/dump")
        assert not ec2.Ec2Dump(settings.ec2).checksums([])
        assert bring(settings, tmp_path / "raw") == content_of(raw)


@pytest.mark.parametrize("key", sorted(KEYS))
def test_every_kind_of_key_opens(
    over_ssh: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, raw: Path
) -> None:
    monkeypatch.setenv(ssh.PASSPHRASE, KEYS[key][1] or "unused")
    assert open_dump(over_ssh(key=f"s3://keys/{key}")).table("images.csv") == (raw / "images.csv").read_bytes()


def test_every_byte_comes_from_s3(
    s3: S3Server, settings: Settings, raw: Path, tmp_path: Path, transferred: list[str]
) -> None:
    folder = unpack(raw, tmp_path / "dump")
    s3.upload("dumps", {f"2026/{name}": content for name, content in content_of(folder).items()})
    section = type(settings.fetch.s3)(url="s3://dumps/2026/", endpoint_url=s3.url)
    settings_s3 = settings.fetch.model_copy(update={"source": "s3", "s3": section})
    assert bring(settings_s3, tmp_path / "raw") == content_of(raw)

    # Another photo, a changed one, one less, and one that no file may be called like.
    transferred.clear()
    names = sorted(content_of(folder / "images"))
    s3.upload("dumps", {f"2026/images/{name}": b"new" for name in ("new.jpg", names[0], "nested/x.jpg")})
    s3.client().delete_object(Bucket="dumps", Key=f"2026/images/{names[1]}")
    photos = {
        name: content
        for shard in shard_paths(_fetched(settings_s3, tmp_path / "next") / "images")
        for name, content in read_shard(shard)
    }
    assert sorted(transferred) == sorted(["new.jpg", names[0]])
    assert set(photos) == {*names, "new.jpg"} - {names[1]}
    assert photos["new.jpg"] == photos[names[0]] == b"new"


def _fetched(settings: FetchSettings, target: Path) -> Path:
    bring(settings, target)
    return target


def test_a_limit_transfers_no_more_than_it_needs(over_ssh: Configure, tmp_path: Path, transferred: list[str]) -> None:
    bring(over_ssh(), tmp_path / "raw", limit=10)
    assert 0 < len(transferred) <= 30
