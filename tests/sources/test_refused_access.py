"""Servers, keys and buckets that differ from the parameters: each gives one sentence, with no secret in it."""

import logging
from pathlib import Path
from typing import Any

import pytest
from helpers.dumps import MakeSettings, fetch_files
from helpers.servers import (
    KEY_KINDS,
    OWNER_CREDENTIALS,
    STRANGER_CREDENTIALS,
    KeyPairs,
    S3Server,
    SshServer,
    generate_key,
)

from marketplace.common.errors import MarketplaceError
from marketplace.sources.dump import open_dump
from marketplace.sources.private_keys import PASSPHRASE_VARIABLE


def test_known_hosts_may_replace_a_fingerprint(over_ssh: MakeSettings, server: SshServer, tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(server.known_hosts_line())
    assert open_dump(over_ssh(fingerprint=None, known_hosts=str(path))).table("images.csv")


def test_an_unknown_a_changed_and_a_wrongly_pinned_host_key_are_refused(
    over_ssh: MakeSettings, server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # no ~/.ssh/known_hosts
    with pytest.raises(MarketplaceError, match="is not known") as unknown:
        open_dump(over_ssh(fingerprint=None)).table("images.csv")
    assert f"fetch.ec2.fingerprint={server.fingerprint}" in str(unknown.value)
    assert not (tmp_path / ".ssh").exists()  # and it was not added

    generate_key(tmp_path / "stranger")
    key = (tmp_path / "stranger.pub").read_text()
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {key}")
    with pytest.raises(MarketplaceError, match="has CHANGED"):
        open_dump(over_ssh(fingerprint=None, known_hosts=str(tmp_path / "known_hosts"))).table("images.csv")

    with pytest.raises(MarketplaceError, match="is not the pinned one"):
        open_dump(over_ssh(fingerprint=f"SHA256:{'A' * 43}")).table("images.csv")
    with pytest.raises(MarketplaceError, match="known_hosts = 'nowhere' is not a file"):
        open_dump(over_ssh(fingerprint=None, known_hosts="nowhere")).table("images.csv")


@pytest.mark.parametrize(
    ("changes", "environment", "message"),
    [
        ({}, {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "no AWS credentials"),
        ({}, {"AWS_PROFILE": "nobody"}, "check AWS_PROFILE"),
        ({}, {"AWS_SECRET_ACCESS_KEY": "wrong"}, "rejects the current AWS credentials"),
        ({}, STRANGER_CREDENTIALS, "do not allow reading s3://keys/id_ed25519"),
        ({}, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "the connection to S3 for s3://keys/id_ed25519 broke"),
        ({"key": "s3://nowhere/id"}, {}, "there is no bucket for s3://nowhere/id"),
        ({"key": "s3://keys/nothing"}, {}, "there is no s3://keys/nothing"),
        ({"key": "keys/id"}, {}, "is not an S3 address"),
        ({"key": "s3://keys/page"}, {}, "is not a private key"),
        ({"key": "s3://keys/locked"}, {}, "is encrypted: put its passphrase into"),
        ({"key": "s3://keys/locked"}, {PASSPHRASE_VARIABLE: "wrong"}, "does not open the private key"),
        ({"key": None}, {}, "fetch.ec2.key is not set"),
        ({"user": "root"}, {}, "refused the user 'root'"),
        ({"port": 9}, {}, "cannot connect to 127.0.0.1:9"),
        ({"host": "no-such-host.invalid"}, {}, "cannot connect to no-such-host.invalid"),
        ({"path": "/nowhere"}, {}, "fetch.ec2.path is missing on 127.0.0.1"),
    ],
)
def test_a_mistake_is_explained_without_a_secret(
    over_ssh: MakeSettings,
    keys: KeyPairs,
    changes: dict[str, Any],
    environment: dict[str, str | None],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value) if value is not None else monkeypatch.delenv(name)
    with caplog.at_level(logging.DEBUG, logger="marketplace"), pytest.raises(MarketplaceError, match=message) as caught:
        fetch_files(over_ssh(**changes), tmp_path / "raw")
    everything = (
        str(caught.value)
        + caplog.text
        + "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    )
    for key in KEY_KINDS:
        lines = keys.private(key).splitlines()
        assert lines[len(lines) // 2] not in everything
    assert OWNER_CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in everything
    assert not (tmp_path / "raw" / "images").exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, r"fetch\.s3\.url is not set"),
        ("http://bucket", "is not an S3 address"),
        ("s3://nowhere", "there is no bucket for s3://nowhere"),
        ("s3://keys/nothing", r"there is no s3://keys/nothing/products\.csv"),
        ("s3://no photos", "cannot request s3://no photos/products.csv from S3"),
        ("s3://tables", "is empty"),
    ],
)
def test_a_mistake_about_a_bucket_is_explained(
    from_s3: MakeSettings, s3: S3Server, keys: KeyPairs, tmp_path: Path, url: str | None, message: str
) -> None:
    s3.upload("tables", {"products.csv": b"x", "images.csv": b"x"})
    with pytest.raises(MarketplaceError, match=message):
        fetch_files(from_s3(url), tmp_path / "raw")


@pytest.mark.parametrize("missing", ["products.csv", "images.csv", "images"])
def test_a_missing_part_of_the_dump_is_named(
    over_ssh: MakeSettings, server: SshServer, tmp_path: Path, missing: str
) -> None:
    partial = server.folder / f"without-{missing}"
    partial.mkdir(mode=0o755)
    for name in {"products.csv", "images.csv", "images"} - {missing}:
        (partial / name).symlink_to(server.folder / "dump" / name)
    with pytest.raises(MarketplaceError, match=rf"{missing.replace('.', '[.]')} is missing on 127"):
        fetch_files(over_ssh(path=str(partial)), tmp_path / "raw")
