"""Fixtures for dumps on real servers: one S3 store and one SSH server for each test process."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.dumps import MakeSettings, unpack
from helpers.servers import KEY_KINDS, KeyPairs, S3Server, SshServer, generate_key, s3_server, ssh_server

from marketplace.settings import Settings
from marketplace.sources import mirror
from marketplace.sources.dump import FetchSettings
from marketplace.sources.photo_store import PhotoStore, Stamp
from marketplace.sources.private_keys import PASSPHRASE_VARIABLE
from marketplace.sources.s3 import S3Settings
from marketplace.sources.ssh import Ec2Settings


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as store:
        yield store


@pytest.fixture(scope="session")
def keys(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> KeyPairs:
    """A key pair of each of KEY_KINDS; the private keys are in the bucket `keys`."""
    pairs = KeyPairs(tmp_path_factory.mktemp("keys"))
    objects = {"page": b"<html>no key</html>"}
    for name, kind in KEY_KINDS.items():
        objects[name] = generate_key(pairs.folder / name, kind.algorithm, kind.passphrase).encode()
    s3.upload("keys", objects)
    s3.refuse_strangers("keys")
    return pairs


@pytest.fixture(scope="session")
def server(raw: Path, keys: KeyPairs) -> Iterator[SshServer]:
    """An SSH server with the sample dump in ./dump, which accepts all the keys. Tests leave the dump as it was."""
    with ssh_server() as running:
        unpack(raw, running.folder / "dump")
        running.take_ownership()
        for name in KEY_KINDS:
            running.authorize(keys.public(name))
        yield running


@pytest.fixture
def aws(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a user of the S3 store who has fetched nothing yet, and need not wait long for retries."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", PASSPHRASE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mirror, "RETRY_PAUSES", (0.05, 0.1, 0.2))


@pytest.fixture
def own_dump(server: SshServer, raw: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the dump on the server that a test may change."""
    folder = unpack(raw, server.folder / f"own-{tmp_path.name}")
    server.take_ownership()
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)


@pytest.fixture
def over_ssh(settings: Settings, server: SshServer, aws: None) -> MakeSettings:
    """Make settings for the dump on the server, or on another one, with changes."""

    def configure(machine: SshServer = server, **changes: Any) -> FetchSettings:
        section = Ec2Settings.model_validate({**machine.settings(), **changes})
        return settings.fetch.model_copy(update={"source": "ec2", "ec2": section})

    return configure


@pytest.fixture
def from_s3(settings: Settings, s3: S3Server, aws: None) -> MakeSettings:
    """Make settings for a dump in the S3 store, with changes."""

    def configure(url: str | None, endpoint_url: str = s3.url) -> FetchSettings:
        section = S3Settings(url=url, endpoint_url=endpoint_url)
        return settings.fetch.model_copy(update={"source": "s3", "s3": section})

    return configure


@pytest.fixture
def transferred(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the photos that reach the store from outside, in the order in which they come."""
    names: list[str] = []
    add = PhotoStore.add

    def add_and_note(self: PhotoStore, name: str, stamp: Stamp, content: bytes) -> None:
        names.append(name)
        add(self, name, stamp, content)

    monkeypatch.setattr(PhotoStore, "add", add_and_note)
    return names
