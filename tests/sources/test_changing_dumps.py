"""Dumps on real servers that change, also while they are transferred, and servers that lie."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.dumps import Configure, bring, content_of, photos_of, unpack
from helpers.servers import S3Server, SshServer, free_port, ssh_server

from marketplace.common.errors import MarketplaceError
from marketplace.sources import ec2, ssh
from marketplace.sources.dump import open_dump
from marketplace.sources.photo_store import Stamp


def test_only_what_is_new_or_changed_is_transferred_and_only_its_shards_change(
    over_ssh: Configure, own_dump: Path, tmp_path: Path, transferred: list[str]
) -> None:
    settings = over_ssh(path=str(own_dump))
    before = bring(settings, tmp_path / "raw")
    names = sorted(path.name for path in (own_dump / "images").iterdir())
    transferred.clear()
    (own_dump / "images" / "new.jpg").write_bytes(b"new")
    after = bring(settings, tmp_path / "raw")
    assert transferred == ["new.jpg"]
    assert len([name for name in after if after[name] != before[name]]) == 1

    (own_dump / "images" / names[3]).write_bytes(b"changed")
    (own_dump / "images" / names[4]).unlink()
    transferred.clear()
    bring(settings, tmp_path / "raw")
    photos = photos_of(tmp_path / "raw")
    assert transferred == [names[3]]
    assert photos[names[3]] == b"changed"
    assert names[4] not in photos


def test_what_vanishes_or_changes_during_the_transfer_is_noticed(
    over_ssh: Configure, own_dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted(path.name for path in (own_dump / "images").iterdir() if path.stat().st_size > 100)
    vanishing, growing, changing = (own_dump / "images" / name for name in names[:3])
    read = ec2.Ec2Dump.read_photos
    rounds = 0

    def meddling(self: ec2.Ec2Dump, wanted: dict[str, Stamp]) -> Iterator[tuple[str, bytes | None]]:
        nonlocal rounds
        rounds += 1
        if rounds == 1:  # after the listing, before the transfer
            vanishing.unlink()
            growing.write_bytes(growing.read_bytes() + b"more")
            changing.write_bytes(changing.read_bytes()[::-1])
        yield from read(self, wanted)

    monkeypatch.setattr(ec2.Ec2Dump, "read_photos", meddling)
    bring(over_ssh(path=str(own_dump)), tmp_path / "raw")
    photos = photos_of(tmp_path / "raw")
    assert rounds > 1
    assert vanishing.name not in photos
    assert photos[growing.name] == growing.read_bytes()
    assert photos[changing.name] == changing.read_bytes()
    assert len(photos) == len(list((own_dump / "images").iterdir()))


def test_strange_names_stay_behind_or_come_as_they_are(
    over_ssh: Configure, own_dump: Path, server: SshServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = own_dump / "images"
    for name in ("-rf.jpg", "--checkpoint-action=exec=sh.jpg", "ä b'\"$(x).jpg", "no-extension"):
        (images / name).write_bytes(name.encode())
    (images / "two\nlines.jpg").write_bytes(b"x")
    (images / os.fsdecode(b"\xff.jpg")).write_bytes(b"x")
    (images / "link.jpg").symlink_to("/etc/passwd")
    (images / "folder.jpg").mkdir()
    server.own()
    bring(over_ssh(path=str(own_dump)), tmp_path / "raw")
    photos = photos_of(tmp_path / "raw")
    for name in ("-rf.jpg", "--checkpoint-action=exec=sh.jpg", "ä b'\"$(x).jpg", "no-extension"):
        assert photos[name] == name.encode()
    assert "link.jpg" not in photos
    assert "2 files are left behind" in caplog.text


FAKE_TAR = """#!{python} -I
import io, os, sys, tarfile
if "--version" in sys.argv:
    sys.exit(print("tar (GNU tar) 1.34"))
names = sys.stdin.buffer.read().decode().split("\\0")[:-1]
out = tarfile.open(fileobj=sys.stdout.buffer, mode="w|")
def send(name, content, size=None):
    info = tarfile.TarInfo(name)
    info.size = len(content) if size is None else size
    if size is None:
        out.addfile(info, io.BytesIO(content))
    else:
        out.fileobj.write(info.tobuf() + content)
lie = os.environ["LIE"]
for name in names[:5]:
    content = open(name, "rb").read()
    if lie == "outside":
        send("../../outside.jpg", content)
    elif lie == "absolute":
        send("{outside}", content)
    elif lie == "twice":
        send(name, content); send(name, content)
    elif lie == "size":
        send(name, content, size=2**40)
    elif lie == "content":
        send(name, bytes(len(content)))
    elif lie == "link":
        info = tarfile.TarInfo(name); info.type = tarfile.SYMTYPE; info.linkname = "/etc/passwd"; out.addfile(info)
out.close()
"""


@contextlib.contextmanager
def lying_server(raw: Path, keys: dict[str, str], lie: str, outside: Path) -> Iterator[SshServer]:
    """A server whose `tar` lies until `bin/tar` in its folder is gone."""
    with ssh_server() as liar:
        liar.stop()
        (liar.folder / "bin").mkdir()
        fake = liar.folder / "bin" / "tar"
        fake.write_text(FAKE_TAR.format(python="/usr/bin/env -S python3", outside=outside))
        fake.chmod(0o755)
        liar.options = (f"SetEnv PATH={liar.folder}/bin:{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin LIE={lie}",)
        unpack(raw, liar.folder / "dump")
        liar.authorize(Path(keys[""]) / "id_ed25519.pub")
        liar.start()
        yield liar


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ("outside", r"sent '\.\./\.\./outside\.jpg', which was not asked for"),
        ("absolute", "which was not asked for"),
        ("twice", "which was not asked for"),
        ("size", "do not come as listed"),
        ("content", "do not come as listed"),
        ("link", "do not come as listed"),
    ],
)
def test_a_lying_server_gets_nothing_written(
    raw: Path, keys: dict[str, str], over_ssh: Configure, tmp_path: Path, lie: str, said: str
) -> None:
    outside = tmp_path / "outside.jpg"
    with lying_server(raw, keys, lie, outside) as liar:
        settings = over_ssh(port=liar.port, fingerprint=liar.fingerprint, path=f"{liar.folder}/dump")
        with pytest.raises(MarketplaceError, match=said):
            bring(settings, tmp_path / "raw")
    assert not outside.exists()
    assert not list(tmp_path.rglob("outside.jpg"))
    assert not (tmp_path / "raw" / "images").exists()


@pytest.mark.parametrize("killed", [False, True], ids=["checked", "killed before the check"])
def test_bytes_that_failed_their_check_or_never_had_one_are_not_trusted_later(
    raw: Path, keys: dict[str, str], over_ssh: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    with lying_server(raw, keys, "content", tmp_path / "outside.jpg") as server:
        settings = over_ssh(port=server.port, fingerprint=server.fingerprint, path=f"{server.folder}/dump")
        with monkeypatch.context() as patch:
            if killed:

                def die(self: ec2.Ec2Dump, names: list[str]) -> dict[str, str]:
                    raise KeyboardInterrupt

                patch.setattr(ec2.Ec2Dump, "checksums", die)
            with pytest.raises(KeyboardInterrupt if killed else MarketplaceError):
                bring(settings, tmp_path / "raw")
        (server.folder / "bin" / "tar").unlink()  # from here on the real one answers
        assert bring(settings, tmp_path / "raw") == content_of(raw)


def test_a_port_that_speaks_no_ssh_is_no_hang(
    over_ssh: Configure, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "CONNECT_SECONDS", 1.0)
    for port in (s3.port, free_port()):
        with pytest.raises(MarketplaceError, match="cannot connect to"):
            open_dump(over_ssh(port=port)).table("images.csv")
