"""Dumps on servers with quirks: few sessions, no shell, greetings, odd keys, unreadable photos."""

import stat
from pathlib import Path
from typing import Any

import botocore.client
import botocore.exceptions
import pytest
from helpers.dumps import MakeSettings, fetch_files, files_in, photos_in, unpack
from helpers.servers import KeyPairs, S3Server, ssh_server
from helpers.sftp_alone import Refusal, close_channel, end_command, end_connection, refuse, say_nothing, sftp_alone

from marketplace.common.errors import MarketplaceError
from marketplace.sources import ec2, ssh


@pytest.mark.parametrize("sftp_alone", [False, True], ids=["shell", "SFTP alone"])
def test_an_unreadable_photo_is_left_out_with_a_warning(
    over_ssh: MakeSettings,
    own_dump: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    sftp_alone: bool,
) -> None:
    if sftp_alone:
        monkeypatch.setattr(ec2, "TOOLS_CHECK", "false")
    secret = sorted((own_dump / "images").iterdir())[7]
    secret.chmod(0)
    fetch_files(over_ssh(path=str(own_dump)), tmp_path / "raw")
    photos = photos_in(tmp_path / "raw")
    assert set(photos) == {path.name for path in (own_dump / "images").iterdir()} - {secret.name}
    assert f"1 photos cannot be read there and are left out, such as '{secret.name}'" in caplog.text
    secret.chmod(stat.S_IRUSR)
    fetch_files(over_ssh(path=str(own_dump)), tmp_path / "raw")
    assert secret.name in photos_in(tmp_path / "raw")


def test_a_dump_of_unreadable_photos_is_refused(over_ssh: MakeSettings, own_dump: Path, tmp_path: Path) -> None:
    for photo in (own_dump / "images").iterdir():
        photo.chmod(0)
    with pytest.raises(MarketplaceError, match=r"none of the \d+ photos can be read there, such as"):
        fetch_files(over_ssh(path=str(own_dump)), tmp_path / "raw")


@pytest.mark.parametrize("code", ["InvalidObjectState", "AccessDenied"])
def test_an_archived_or_forbidden_object_is_left_out_with_a_warning(
    from_s3: MakeSettings,
    s3: S3Server,
    raw: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
) -> None:
    """The tests' store has neither an archive nor permissions for single objects, so the client's answer is faked."""
    folder = unpack(raw, tmp_path / "dump")
    s3.upload("dumps", {f"odd/{name}": content for name, content in files_in(folder).items()})
    name = sorted(path.name for path in (folder / "images").iterdir())[3]
    call = botocore.client.BaseClient._make_api_call

    def call_or_refuse(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "GetObject" and arguments["Key"].endswith(name):
            raise botocore.exceptions.ClientError({"Error": {"Code": code}}, operation)
        return call(self, operation, arguments)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", call_or_refuse)
    fetch_files(from_s3("s3://dumps/odd"), tmp_path / "raw")
    assert name not in photos_in(tmp_path / "raw")
    assert f"1 photos cannot be read there and are left out, such as '{name}'" in caplog.text


GREETING = "ForceCommand sh -c 'echo Welcome; date; exec sh -c \"$SSH_ORIGINAL_COMMAND\"'"


@pytest.mark.parametrize(
    "options",
    [
        ["MaxSessions 1"],
        ["ForceCommand internal-sftp", "MaxSessions 1"],
        ["ForceCommand internal-sftp", "MaxSessions 2"],
        [GREETING],
    ],
    ids=["one session", "SFTP with one session", "SFTP with two", "a greeting"],
)
def test_every_byte_arrives_from_servers_with_quirks(
    raw: Path, keys: KeyPairs, over_ssh: MakeSettings, tmp_path: Path, options: list[str]
) -> None:
    with ssh_server(*options) as odd:
        unpack(raw, odd.folder / "dump")
        odd.authorize(keys.public("id_ed25519"))
        odd.take_ownership()
        assert fetch_files(over_ssh(odd), tmp_path / "raw") == files_in(raw)


@pytest.mark.parametrize("refusal", [refuse, say_nothing, end_command, close_channel, end_connection])
def test_every_byte_arrives_from_a_server_that_refuses_commands(
    raw: Path, over_ssh: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Refusal
) -> None:
    monkeypatch.setattr(ssh, "STALL_SECONDS", 1.0)
    dump = unpack(raw, tmp_path / "dump")
    with sftp_alone(refusal) as server:
        settings = over_ssh(port=server.port, fingerprint=server.fingerprint, path=str(dump))
        assert fetch_files(settings, tmp_path / "raw") == files_in(raw)
