"""Dumps on real servers that change, even during a transfer, and servers that lie."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.dumps import MakeSettings, fetch_files, files_in, photos_in, unpack
from helpers.servers import KeyPairs, S3Server, SshServer, free_port, ssh_server

from marketplace.common.errors import MarketplaceError
from marketplace.sources import ec2, ssh
from marketplace.sources.dump import open_dump
from marketplace.sources.photo_store import Stamp


def test_only_what_is_new_or_changed_is_transferred_and_only_its_shards_change(
    over_ssh: MakeSettings, own_dump: Path, tmp_path: Path, transferred: list[str]
) -> None:
    settings = over_ssh(path=str(own_dump))
    before = fetch_files(settings, tmp_path / "raw")
    names = sorted(path.name for path in (own_dump / "images").iterdir())
    transferred.clear()
    (own_dump / "images" / "new.jpg").write_bytes(b"new")
    after = fetch_files(settings, tmp_path / "raw")
    assert transferred == ["new.jpg"]
    assert len([name for name in after if after[name] != before[name]]) == 1

    (own_dump / "images" / names[3]).write_bytes(b"changed")
    (own_dump / "images" / names[4]).unlink()
    transferred.clear()
    fetch_files(settings, tmp_path / "raw")
    photos = photos_in(tmp_path / "raw")
    assert transferred == [names[3]]
    assert photos[names[3]] == b"changed"
    assert names[4] not in photos


def test_photos_that_vanish_or_change_during_the_transfer_are_noticed(
    over_ssh: MakeSettings, own_dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted(path.name for path in (own_dump / "images").iterdir() if path.stat().st_size > 100)
    vanishing, growing, changing = (own_dump / "images" / name for name in names[:3])
    read_photos = ec2.Ec2Dump.read_photos
    n_rounds = 0

    def meddle_and_read(self: ec2.Ec2Dump, listing: dict[str, Stamp]) -> Iterator[tuple[str, bytes | None]]:
        nonlocal n_rounds
        n_rounds += 1
        if n_rounds == 1:  # after the listing, before the transfer
            vanishing.unlink()
            growing.write_bytes(growing.read_bytes() + b"more")
            changing.write_bytes(changing.read_bytes()[::-1])
        yield from read_photos(self, listing)

    monkeypatch.setattr(ec2.Ec2Dump, "read_photos", meddle_and_read)
    fetch_files(over_ssh(path=str(own_dump)), tmp_path / "raw")
    photos = photos_in(tmp_path / "raw")
    assert n_rounds > 1
    assert vanishing.name not in photos
    assert photos[growing.name] == growing.read_bytes()
    assert photos[changing.name] == changing.read_bytes()
    assert len(photos) == len(list((own_dump / "images").iterdir()))


def test_strange_names_are_left_behind_or_come_unchanged(
    over_ssh: MakeSettings, own_dump: Path, server: SshServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = own_dump / "images"
    safe_names = ("-rf.jpg", "--checkpoint-action=exec=sh.jpg", "ä b'\"$(x).jpg", "no-extension")
    for name in safe_names:
        (images / name).write_bytes(name.encode())
    (images / "two\nlines.jpg").write_bytes(b"x")
    (images / os.fsdecode(b"\xff.jpg")).write_bytes(b"x")
    (images / "link.jpg").symlink_to("/etc/passwd")
    (images / "folder.jpg").mkdir()
    server.take_ownership()
    fetch_files(over_ssh(path=str(own_dump)), tmp_path / "raw")
    photos = photos_in(tmp_path / "raw")
    for name in safe_names:
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
def lying_server(raw: Path, keys: KeyPairs, lie: str, outside: Path) -> Iterator[SshServer]:
    """Start a server whose `tar` lies until `bin/tar` in its folder is deleted."""
    with ssh_server() as liar:
        liar.stop()
        (liar.folder / "bin").mkdir()
        fake = liar.folder / "bin" / "tar"
        fake.write_text(FAKE_TAR.format(python="/usr/bin/env -S python3", outside=outside))
        fake.chmod(0o755)
        liar.options = (f"SetEnv PATH={liar.folder}/bin:{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin LIE={lie}",)
        unpack(raw, liar.folder / "dump")
        liar.authorize(keys.public("id_ed25519"))
        liar.start()
        yield liar


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        ("outside", r"sent '\.\./\.\./outside\.jpg', which was not requested"),
        ("absolute", "which was not requested"),
        ("twice", "which was not requested"),
        ("size", "do not arrive as listed"),
        ("content", "do not arrive as listed"),
        ("link", "do not arrive as listed"),
    ],
)
def test_nothing_from_a_lying_server_is_written(
    raw: Path, keys: KeyPairs, over_ssh: MakeSettings, tmp_path: Path, lie: str, message: str
) -> None:
    outside = tmp_path / "outside.jpg"
    with lying_server(raw, keys, lie, outside) as liar, pytest.raises(MarketplaceError, match=message):
        fetch_files(over_ssh(liar), tmp_path / "raw")
    assert not outside.exists()
    assert not list(tmp_path.rglob("outside.jpg"))
    assert not (tmp_path / "raw" / "images").exists()


@pytest.mark.parametrize("killed", [False, True], ids=["checked", "killed before the check"])
def test_bytes_that_failed_their_check_or_missed_it_are_not_trusted_later(
    raw: Path, keys: KeyPairs, over_ssh: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    with lying_server(raw, keys, "content", tmp_path / "outside.jpg") as liar:
        settings = over_ssh(liar)
        with monkeypatch.context() as patch:
            if killed:

                def die(self: ec2.Ec2Dump, names: list[str]) -> dict[str, str]:
                    raise KeyboardInterrupt

                patch.setattr(ec2.Ec2Dump, "checksums", die)
            with pytest.raises(KeyboardInterrupt if killed else MarketplaceError):
                fetch_files(settings, tmp_path / "raw")
        (liar.folder / "bin" / "tar").unlink()  # from here on the real one answers
        assert fetch_files(settings, tmp_path / "raw") == files_in(raw)


def test_a_port_without_ssh_does_not_hang(
    over_ssh: MakeSettings, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "CONNECT_SECONDS", 1.0)
    for port in (s3.port, free_port()):
        with pytest.raises(MarketplaceError, match="cannot connect to"):
            open_dump(over_ssh(port=port)).table("images.csv")
