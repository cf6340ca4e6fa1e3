"""Machines whose programs lie or never end: one sentence each, in bounded memory and time; nothing of it is packed."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.dumps import MakeSettings, fetch_files, files_in, photos_in, small_dump
from helpers.servers import KeyPairs, SshServer, ssh_server

from marketplace.common.errors import MarketplaceError
from marketplace.sources import bounds, mirror, shell, ssh

HEADER = """#!/bin/sh
case "$*" in *--version*) exec /usr/bin/{program} --version;; esac
"""
TAR_HEADER = """#!/usr/bin/env -S python3 -I
import os, sys, tarfile
if "--version" in sys.argv:
    sys.exit(print("tar (GNU tar) 1.34"))
names = sys.stdin.buffer.read().decode().split("\\0")[:-1]
out = sys.stdout.buffer
def header(name, size=0, kind=tarfile.REGTYPE, **fields):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)
def send(name):
    content = open(name, "rb").read()
    out.write(header(name, len(content)) + content + bytes(-len(content) % 512))
"""


@pytest.fixture(scope="module")
def liar(keys: KeyPairs) -> Iterator[SshServer]:
    """A server with a small dump; programs in its folder `bin` take the place of the real ones."""
    with ssh_server() as server:
        server.stop()
        (server.folder / "bin").mkdir()
        server.options = (f"SetEnv PATH={server.folder}/bin:{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin",)
        small_dump(16).write(server.folder / "dump")
        server.authorize(keys.public("id_ed25519"))
        yield server.start()


@pytest.fixture
def lies(liar: SshServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Programs of the server by name, which the test chooses; silence is noticed soon."""
    monkeypatch.setattr(ssh, "STALL_SECONDS", 0.7)
    yield (programs := Programs(liar.folder / "bin"))
    programs.clear()


class Programs(dict[str, str]):
    """Scripts in a folder, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __setitem__(self, name: str, script: str) -> None:
        path = self._folder / name
        path.write_text(script if script.startswith("#!") else HEADER.format(program=name) + script)
        path.chmod(0o755)

    def clear(self) -> None:
        """Let the real programs answer again."""
        for path in self._folder.iterdir():
            path.unlink()


@pytest.mark.parametrize(
    ("program", "script", "message"),
    [
        ("find", r"printf 'nothing\0'", "sent 'nothing', which was not requested"),
        ("find", r"printf '5 1.0\0'", "sent '5 1.0', which was not requested"),
        ("find", r"printf 'x 1.0 a.jpg\0'", "which was not requested"),
        ("find", r"printf -- '-5 1.0 a.jpg\0'", "which was not requested"),
        ("find", r"printf '5 \377 a.jpg\0'", "do not arrive as listed, such as 'a.jpg'"),
        ("find", r"printf '5 1.0 a.jpg'", "the last line was cut off"),
        ("find", r"printf '5 1.0 a.jpg\0'; exit 1", "the listing of images/ broke off"),
        ("find", r"yes '5 1.0 a.jpg' | tr '\n' '\0'", "lists more than .* files"),
        ("find", "exec cat /dev/zero", "which was not requested"),
        ("find", r"printf '5 1.0 '; exec tr '\0' a < /dev/zero", "a line of more than 8192 bytes"),
        ("find", r"while printf 5; do sleep 0.1; done", "no answer for too long"),
        ("sha256sum", "exit 0", "16 photos do not arrive as listed"),
        ("sha256sum", "exit 1", "16 photos do not arrive as listed"),
        ("sha256sum", r"printf '\377\376\0'", "which was not requested"),
        ("sha256sum", r"head -c 64 /dev/zero | tr '\0' g; printf '  image000.jpg\0'", "which was not requested"),
        ("sha256sum", r"/usr/bin/sha256sum -z -- image000.jpg image000.jpg", "which was not requested"),
        ("sha256sum", r"head -c 70 /dev/zero | tr '\0' a", "the last line was cut off"),
        ("cat", "exec /usr/bin/cat /dev/zero", r"products.csv has more than 1\.0 MB, the most that a fetch takes"),
        ("cat", '/usr/bin/cat "$2" | head -c 5; exit 1', "products.csv broke off on 127.0.0.1"),
        ("cat", "while printf 5; do sleep 0.1; done", "no answer for too long"),
    ],
)
def test_a_lie_is_one_sentence(
    over_ssh: MakeSettings,
    liar: SshServer,
    lies: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    script: str,
    message: str,
) -> None:
    monkeypatch.setattr(mirror, "RETRY_PAUSES", ())
    monkeypatch.setattr(mirror, "MAX_PHOTOS", 1000)
    monkeypatch.setattr(bounds, "MAX_TABLE_BYTES", 10**6)
    lies[program] = script
    with pytest.raises(MarketplaceError, match=message):
        fetch_files(over_ssh(liar), tmp_path / "raw")
    assert not (tmp_path / "raw" / "images").exists()


PAX_RECORD = "b'30 GNU.sparse.major=1\\n'.ljust(512, b'\\0')"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("out.write(bytes(1000))", "do not arrive as listed"),
        ("out.write(b'x' * 1000)", "the stream from 127.0.0.1 broke off"),
        ("out.write(header(names[0], 500))", "the stream from 127.0.0.1 broke off"),
        ("out.write(header(names[0], -1))", "do not arrive as listed"),
        ("out.write(header(names[0], 2**40))", "do not arrive as listed"),
        ("out.write(header('x', 2**33, tarfile.GNUTYPE_LONGNAME))", "a name of 8589934592 bytes"),
        ("out.write((header('x', 1, tarfile.GNUTYPE_LONGNAME) + b'x'.ljust(512)) * 9)", "a name without a file"),
        (f"out.write((header('x', 30, tarfile.XHDTYPE) + {PAX_RECORD}) * 2000)", "do not arrive as listed"),
        ("out.write(header('x', 2**33, tarfile.XHDTYPE))", "do not arrive as listed"),
        ("out.write(header('x', 2**33, tarfile.GNUTYPE_LONGLINK))", "do not arrive as listed"),
        ("out.write(header(names[0], 500, tarfile.GNUTYPE_SPARSE) + b'\\1' * 10**6)", "16 photos|1 photos|broke off"),
        ("out.write(header('', 5) + bytes(512))", "sent '', which was not requested"),
        ("out.write(header('\\udcff', 5) + bytes(512))", "which was not requested"),
    ],
)
def test_a_tar_that_lies_is_one_sentence(
    over_ssh: MakeSettings,
    liar: SshServer,
    lies: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    message: str,
) -> None:
    monkeypatch.setattr(mirror, "RETRY_PAUSES", ())
    lies["tar"] = f"{TAR_HEADER}\n{script}\n"
    with pytest.raises(MarketplaceError, match=message):
        fetch_files(over_ssh(liar), tmp_path / "raw")
    assert not (tmp_path / "raw" / "images").exists()


def test_a_photo_that_is_still_being_uploaded_costs_itself_alone(
    over_ssh: MakeSettings, liar: SshServer, lies: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    growing = liar.folder / "dump" / "images" / "image003.jpg"
    sound = growing.read_bytes()
    lies["tar"] = f'#!/bin/sh\nhead -c 50 /dev/zero >> {growing}\nexec /usr/bin/tar "$@"\n'
    liar.take_ownership()
    fetch_files(over_ssh(liar), tmp_path / "raw")
    photos = photos_in(tmp_path / "raw")
    assert len(photos) == 15
    assert "1 photos keep changing there and are left out, such as 'image003.jpg'" in caplog.text
    growing.write_bytes(sound)
    Programs(liar.folder / "bin").clear()
    fetch_files(over_ssh(liar), tmp_path / "raw")
    assert photos_in(tmp_path / "raw") == {**photos, "image003.jpg": sound}


def test_a_large_file_is_left_behind_by_name(
    over_ssh: MakeSettings, liar: SshServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backup = liar.folder / "dump" / "images" / "backup.tar"
    with backup.open("wb") as file:
        file.truncate(30 * 10**9)  # takes no space
    liar.take_ownership()
    fetch_files(over_ssh(liar), tmp_path / "raw")
    backup.unlink()
    assert "1 files in images/ are left behind, such as 'backup.tar' (30.0 GB): no photo has more than" in caplog.text
    assert len(photos_in(tmp_path / "raw")) == 16


def test_messages_of_programs_fill_no_pipe(
    over_ssh: MakeSettings, liar: SshServer, lies: dict[str, str], tmp_path: Path
) -> None:
    """More than a channel's window of them, which nobody reads."""
    lies["tar"] = '#!/bin/sh\n/usr/bin/tar "$@"\nhead -c 9000000 /dev/zero >&2\n'
    fetch_files(over_ssh(liar), tmp_path / "raw")
    assert len(photos_in(tmp_path / "raw")) == 16
    assert files_in(tmp_path / "raw")


@pytest.mark.parametrize("part", ["products.csv", "images.csv", "images"])
def test_a_link_out_of_the_dump_is_not_followed(
    over_ssh: MakeSettings, liar: SshServer, tmp_path: Path, part: str
) -> None:
    folder = small_dump(4).write(liar.folder / f"links-{part}")
    outside = liar.folder / f"outside-{part}"
    (folder / part).rename(outside)
    (folder / part).symlink_to(outside)
    liar.take_ownership()
    settings = over_ssh(liar, path=str(folder))
    with pytest.raises(MarketplaceError, match=rf"{part.replace('.', '[.]')} on 127.0.0.1 is a link that leads out"):
        fetch_files(settings, tmp_path / "raw")
    (folder / part).unlink()
    outside.rename(folder / f"{part}.today")
    (folder / part).symlink_to(f"{part}.today")
    assert len(fetch_files(settings, tmp_path / "raw")) == 6


def test_a_part_of_the_wrong_kind_is_named(over_ssh: MakeSettings, liar: SshServer, tmp_path: Path) -> None:
    folder = small_dump(4).write(liar.folder / "wrong kind")
    (folder / "products.csv").unlink()
    (folder / "products.csv").mkdir()
    liar.take_ownership()
    with pytest.raises(MarketplaceError, match=r"the table products\.csv is not a file on 127"):
        fetch_files(over_ssh(liar, path=str(folder)), tmp_path / "raw")


def test_a_greeting_without_end_is_not_read(
    over_ssh: MakeSettings, liar: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then only SFTP is left."""
    monkeypatch.setattr(shell, "OUTPUT_MARKER", b"this never comes")
    monkeypatch.setattr(shell, "MAX_GREETING_BYTES", 20)
    fetch_files(over_ssh(liar), tmp_path / "raw")
    assert len(photos_in(tmp_path / "raw")) == 16
