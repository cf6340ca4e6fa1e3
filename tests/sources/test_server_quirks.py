"""Dumps on servers with quirks: few sessions, no shell, greetings, odd keys, unreadable photos."""

import os
import socket
import stat
import threading
from pathlib import Path
from typing import Any

import botocore.client
import botocore.exceptions
import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from helpers.dumps import MakeSettings, fetch_files, files_in, photos_in, unpack
from helpers.servers import KeyPairs, S3Server, generate_key, ssh_server

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


class SftpAlone(paramiko.ServerInterface):  # type: ignore[misc]  # paramiko is not typed
    """A server that refuses every command: exec requests fail instead of starting an SFTP server."""

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return int(paramiko.AUTH_SUCCESSFUL)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)


class Folder(paramiko.SFTPServerInterface):  # type: ignore[misc]
    """The files of this machine, read-only."""

    def list_folder(self, path: str) -> Any:
        return [paramiko.SFTPAttributes.from_stat(entry.stat(), entry.name) for entry in os.scandir(path)]

    def stat(self, path: str) -> Any:
        try:
            return paramiko.SFTPAttributes.from_stat(Path(path).stat())
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    def open(self, path: str, flags: int, attr: object) -> Any:
        handle = paramiko.SFTPHandle(flags)
        handle.readfile = Path(path).open("rb")  # noqa: SIM115  # closed with the handle
        return handle


def test_every_byte_arrives_from_a_server_that_refuses_commands(
    raw: Path, over_ssh: MakeSettings, tmp_path: Path
) -> None:
    dump = unpack(raw, tmp_path / "dump")
    host_key = paramiko.RSAKey.generate(2048)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(host_key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Folder)
            transport.start_server(server=SftpAlone())

    threading.Thread(target=serve, daemon=True).start()
    try:
        port = listener.getsockname()[1]
        settings = over_ssh(port=port, fingerprint=host_key.fingerprint, path=str(dump))
        assert fetch_files(settings, tmp_path / "raw") == files_in(raw)
    finally:
        listener.close()


@pytest.mark.parametrize("passphrase", ["", "correct horse"])
@pytest.mark.parametrize("algorithm", ["rsa", "ecdsa", "ed25519"])
def test_a_pkcs8_key_is_the_key_that_it_was_made_from(tmp_path: Path, algorithm: str, passphrase: str) -> None:
    generate_key(tmp_path / "key", algorithm)
    load = serialization.load_pem_private_key if algorithm == "rsa" else serialization.load_ssh_private_key
    key = load((tmp_path / "key").read_bytes(), None)
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()
    parsed = ssh.parse_private_key(text, passphrase or None, "here")
    assert parsed.get_base64() == (tmp_path / "key.pub").read_text().split()[1]
    if passphrase:
        with pytest.raises(MarketplaceError, match="is encrypted: put its passphrase into"):
            ssh.parse_private_key(text, None, "here")
        with pytest.raises(MarketplaceError, match="does not open the private key"):
            ssh.parse_private_key(text, "wrong", "here")
