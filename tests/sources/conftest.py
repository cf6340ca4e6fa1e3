"""Fixtures for dumps on real servers."""

from typing import Any

import pytest
from helpers.dumps import Configure
from helpers.servers import SshServer

from marketplace.settings import Settings
from marketplace.sources import mirror
from marketplace.sources.dump import FetchSettings
from marketplace.sources.photo_store import PhotoStore, Stamp


@pytest.fixture(autouse=True)
def _environment(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "PAUSES", (0.05, 0.1, 0.2))


@pytest.fixture
def over_ssh(settings: Settings, server: SshServer) -> Configure:
    """Settings for the dump on the server, with changes."""

    def configure(**changes: Any) -> FetchSettings:
        section = type(settings.fetch.ec2).model_validate({**server.settings(), **changes})
        return settings.fetch.model_copy(update={"source": "ec2", "ec2": section})

    return configure


@pytest.fixture
def transferred(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the photos that reach the store from outside, as they come."""
    names: list[str] = []
    add = PhotoStore.add

    def noting(self: PhotoStore, name: str, stamp: Stamp, content: bytes) -> None:
        names.append(name)
        add(self, name, stamp, content)

    monkeypatch.setattr(PhotoStore, "add", noting)
    return names
