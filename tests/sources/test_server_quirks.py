"""Dumps on servers with quirks: few sessions, no shell, greetings, odd keys, photos that may not be read."""

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
from helpers.dumps import Configure, bring, content_of, photos_of, unpack
from helpers.servers import S3Server, generate_key, ssh_server

from marketplace.common.errors import MarketplaceError
from marketplace.settings import Settings
from marketplace.sources import ec2, ssh


@pytest.mark.parametrize("sftp_alone", [False, True], ids=["shell", "SFTP alone"])
def test_a_photo_that_may_not_be_read_is_left_out_with_a_warning(
    over_ssh: Configure,
    own_dump: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    sftp_alone: bool,
) -> None:
    if sftp_alone:
        monkeypatch.setattr(ec2, "HAS_TOOLS", "false")
    secret = sorted((own_dump / "images").iterdir())[7]
    secret.chmod(0)
    bring(over_ssh(path=str(own_dump)), tmp_path / "raw")
    photos = photos_of(tmp_path / "raw")
    assert set(photos) == {path.name for path in (own_dump / "images").iterdir()} - {secret.name}
    assert f"1 photos may not be read there and are left out, such as '{secret.name}'" in caplog.text
    secret.chmod(stat.S_IRUSR)
    bring(over_ssh(path=str(own_dump)), tmp_path / "raw")
    assert secret.name in photos_of(tmp_path / "raw")


def test_a_dump_of_which_no_photo_may_be_read_is_refused(over_ssh: Configure, own_dump: Path, tmp_path: Path) -> None:
    for photo in (own_dump / "images").iterdir():
        photo.chmod(0)
    with pytest.raises(MarketplaceError, match=r"none of the \d+ photos may be read, such as"):
        bring(over_ssh(path=str(own_dump)), tmp_path / "raw")


@pytest.mark.parametrize("code", ["InvalidObjectState", "AccessDenied"])
def test_an_archived_or_forbidden_object_is_left_out_with_a_warning(
    s3: S3Server,
    settings: Settings,
    raw: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
) -> None:
    """The store of the tests has neither an archive nor rights for one object: the client's answer stands in."""
    folder = unpack(raw, tmp_path / "dump")
    s3.upload("dumps", {f"odd/{name}": content for name, content in content_of(folder).items()})
    section = type(settings.fetch.s3)(url="s3://dumps/odd", endpoint_url=s3.url)
    name = sorted(path.name for path in (folder / "images").iterdir())[3]
    ask = botocore.client.BaseClient._make_api_call

    def answer(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "GetObject" and arguments["Key"].endswith(name):
            raise botocore.exceptions.ClientError({"Error": {"Code": code}}, operation)
        return ask(self, operation, arguments)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", answer)
    bring(settings.fetch.model_copy(update={"source": "s3", "s3": section}), tmp_path / "raw")
    assert name not in photos_of(tmp_path / "raw")
    assert f"1 photos may not be read there and are left out, such as '{name}'" in caplog.text


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
def test_every_byte_comes_from_servers_with_quirks(
    raw: Path, keys: dict[str, str], over_ssh: Configure, tmp_path: Path, options: list[str]
) -> None:
    with ssh_server(*options) as odd:
        unpack(raw, odd.folder / "dump")
        odd.authorize(Path(keys[""]) / "id_ed25519.pub")
        odd.own()
        settings = over_ssh(port=odd.port, fingerprint=odd.fingerprint, path=f"{odd.folder}/dump")
        assert bring(settings, tmp_path / "raw") == content_of(raw)


class SftpAlone(paramiko.ServerInterface):  # type: ignore[misc]  # paramiko is not typed
    """A server that refuses to run any command: exec requests fail, instead of starting an SFTP server."""

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return int(paramiko.AUTH_SUCCESSFUL)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)


class Folder(paramiko.SFTPServerInterface):  # type: ignore[misc]
    """The files of this machine, to be read."""

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


def test_every_byte_comes_from_a_server_that_refuses_commands(raw: Path, over_ssh: Configure, tmp_path: Path) -> None:
    dump = unpack(raw, tmp_path / "dump")
    host_key = paramiko.RSAKey.generate(2048)
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(host_key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Folder)
            transport.start_server(server=SftpAlone())

    threading.Thread(target=answer, daemon=True).start()
    try:
        port = listener.getsockname()[1]
        settings = over_ssh(port=port, fingerprint=host_key.fingerprint, path=str(dump))
        assert bring(settings, tmp_path / "raw") == content_of(raw)
    finally:
        listener.close()


@pytest.mark.parametrize("passphrase", ["", "correct horse"])
@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_a_pkcs8_key_is_the_key_that_it_was_made_from(tmp_path: Path, kind: str, passphrase: str) -> None:
    generate_key(tmp_path / "key", kind)
    load = serialization.load_ssh_private_key if kind != "rsa" else serialization.load_pem_private_key
    key = load((tmp_path / "key").read_bytes(), None)
    locked = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked).decode()
    found = ssh.parse_private_key(text, passphrase or None, "here")
    assert found.get_base64() == (tmp_path / "key.pub").read_text().split()[1]
    if passphrase:
        with pytest.raises(MarketplaceError, match="is encrypted: put its passphrase into"):
            ssh.parse_private_key(text, None, "here")
        with pytest.raises(MarketplaceError, match="does not open the private key"):
            ssh.parse_private_key(text, "wrong", "here")
