"""Dumps on real servers: OpenSSH and an S3 store of our own, whole, cut off, changed, hostile."""

import contextlib
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.dumps import bring, content_of, photos_of, unpack
from helpers.paths import ROOT
from helpers.servers import KEYS, Proxy, S3Server, SshServer, free_port, generate_key, ssh_server

from marketplace.common.errors import MarketplaceError
from marketplace.raw.shards import read_shard, shard_paths
from marketplace.settings import Settings
from marketplace.sources import ec2, ssh
from marketplace.sources.dump import FetchSettings, open_dump
from marketplace.sources.photo_store import PhotoStore, Stamp

Configure = Callable[..., FetchSettings]


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


# Every byte, whichever way


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


# Who is at the other end


def test_known_hosts_will_do_in_place_of_a_fingerprint(over_ssh: Configure, server: SshServer, tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(server.known_hosts_line())
    assert open_dump(over_ssh(fingerprint=None, known_hosts=str(path))).table("images.csv")


def test_an_unknown_a_changed_and_a_wrongly_pinned_host_key_are_refused(
    over_ssh: Configure, server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # no ~/.ssh/known_hosts
    with pytest.raises(MarketplaceError, match="is not known") as unknown:
        open_dump(over_ssh(fingerprint=None)).table("images.csv")
    assert f"fetch.ec2.fingerprint={server.fingerprint}" in str(unknown.value)
    assert not (tmp_path / ".ssh").exists()  # and it was not added

    generate_key(tmp_path / "other")
    other = (tmp_path / "other.pub").read_text()
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {other}")
    with pytest.raises(MarketplaceError, match="has CHANGED"):
        open_dump(over_ssh(fingerprint=None, known_hosts=str(tmp_path / "known_hosts"))).table("images.csv")

    with pytest.raises(MarketplaceError, match="is not the pinned one"):
        open_dump(over_ssh(fingerprint=f"SHA256:{'A' * 43}")).table("images.csv")
    with pytest.raises(MarketplaceError, match="known_hosts = 'nowhere' is not a file"):
        open_dump(over_ssh(fingerprint=None, known_hosts="nowhere")).table("images.csv")


@pytest.mark.parametrize(
    ("changes", "environment", "said"),
    [
        ({}, {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "no AWS credentials"),
        ({}, {"AWS_PROFILE": "nobody"}, "check AWS_PROFILE"),
        ({}, {"AWS_SECRET_ACCESS_KEY": "wrong"}, "does not accept the AWS credentials"),
        ({}, S3Server.stranger, "may not read s3://keys/id_ed25519"),
        ({}, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "the connection to S3 for s3://keys/id_ed25519 broke"),
        ({"key": "s3://nowhere/id"}, {}, "there is no bucket for s3://nowhere/id"),
        ({"key": "s3://keys/nothing"}, {}, "there is no s3://keys/nothing"),
        ({"key": "keys/id"}, {}, "is not an S3 address"),
        ({"key": "s3://keys/page"}, {}, "is not a private key"),
        ({"key": "s3://keys/locked"}, {}, "is encrypted: put its passphrase into"),
        ({"key": "s3://keys/locked"}, {ssh.PASSPHRASE: "wrong"}, "does not open the private key"),
        ({"key": None}, {}, "fetch.ec2.key is not set"),
        ({"user": "root"}, {}, "refused the user 'root'"),
        ({"port": 9}, {}, "cannot connect to 127.0.0.1:9"),
        ({"host": "no-such-host.invalid"}, {}, "cannot connect to no-such-host.invalid"),
        ({"path": "/nowhere"}, {}, "fetch.ec2.path is missing on 127.0.0.1"),
    ],
)
def test_what_is_wrong_is_said_and_no_secret_with_it(
    over_ssh: Configure,
    keys: dict[str, str],
    changes: dict[str, Any],
    environment: dict[str, str | None],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value) if value is not None else monkeypatch.delenv(name)
    with caplog.at_level(logging.DEBUG, logger="marketplace"), pytest.raises(MarketplaceError, match=said) as caught:
        bring(over_ssh(**changes), tmp_path / "raw")
    everything = (
        str(caught.value)
        + caplog.text
        + "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    )
    for text in (*keys.values(), *S3Server.owner.values()):
        assert text not in everything or text == keys[""] or text == "owner"
        assert text.splitlines()[len(text.splitlines()) // 2] not in everything or "\n" not in text
    assert not (tmp_path / "raw" / "images").exists()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (None, r"fetch\.s3\.url is not set"),
        ("http://bucket", "is not an S3 address"),
        ("s3://nowhere", "there is no bucket for s3://nowhere"),
        ("s3://keys/nothing", r"there is no s3://keys/nothing/products\.csv"),
        ("s3://no photos", "S3 cannot be asked for s3://no photos"),
        ("s3://tables", "is empty"),
    ],
)
def test_what_is_wrong_with_a_bucket_is_said(
    s3: S3Server, settings: Settings, keys: dict[str, str], tmp_path: Path, url: str | None, said: str
) -> None:
    s3.upload("tables", {"products.csv": b"x", "images.csv": b"x"})
    section = type(settings.fetch.s3)(url=url, endpoint_url=s3.url)
    with pytest.raises(MarketplaceError, match=said):
        bring(settings.fetch.model_copy(update={"source": "s3", "s3": section}), tmp_path / "raw")


@pytest.mark.parametrize("missing", ["products.csv", "images.csv", "images"])
def test_a_missing_part_of_the_dump_is_named(
    over_ssh: Configure, server: SshServer, tmp_path: Path, missing: str
) -> None:
    partial = server.folder / f"without-{missing}"
    partial.mkdir(mode=0o755)
    for name in {"products.csv", "images.csv", "images"} - {missing}:
        (partial / name).symlink_to(server.folder / "dump" / name)
    with pytest.raises(MarketplaceError, match=rf"{missing.replace('.', '[.]')} is missing on 127"):
        bring(over_ssh(path=str(partial)), tmp_path / "raw")


# Cut off


@pytest.mark.parametrize("hang", [False, True], ids=["reset", "stall"])
def test_a_broken_connection_is_taken_up_again_and_nothing_comes_twice(
    over_ssh: Configure,
    server: SshServer,
    raw: Path,
    tmp_path: Path,
    transferred: list[str],
    hang: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(ssh, "STALL_SECONDS", 1.0)
    proxy = Proxy(server.port, after=[500_000, 150_000, 900_000], hang=hang)
    assert bring(over_ssh(port=proxy.port), tmp_path / "raw") == content_of(raw)
    assert proxy.connections == 4
    assert len(transferred) == len(set(transferred))
    assert "trying again" in caplog.text
    proxy.close()


def test_tries_are_bounded(over_ssh: Configure, server: SshServer, tmp_path: Path) -> None:
    proxy = Proxy(server.port, after=[1000] * 50)
    with pytest.raises(MarketplaceError, match="3 more tries did not help"):
        bring(over_ssh(port=proxy.port), tmp_path / "raw")
    assert proxy.connections == 4
    proxy.close()


def test_s3_is_taken_up_again(
    s3: S3Server, settings: Settings, raw: Path, tmp_path: Path, transferred: list[str]
) -> None:
    folder = unpack(raw, tmp_path / "dump")
    s3.upload("cut", content_of(folder))
    proxy = Proxy(s3.port, after=[60_000, 20_000, 200_000, 100_000, 5_000])
    section = type(settings.fetch.s3)(url="s3://cut", endpoint_url=f"http://127.0.0.1:{proxy.port}")
    cut = settings.fetch.model_copy(update={"source": "s3", "s3": section})
    assert bring(cut, tmp_path / "raw") == content_of(raw)
    assert len(transferred) == len(set(transferred))
    proxy.close()


PROGRAM = """
import json, os, sys
from pathlib import Path
from marketplace.sources.fetch import fetch
from marketplace.sources.dump import FetchSettings, open_dump
from marketplace.common.console import run_stage
settings = FetchSettings.model_validate_json(os.environ["FETCH"])
run_stage(lambda: fetch(open_dump(settings), Path(os.environ["TARGET"]), 4, None), "fetch")
"""


def program(settings: FetchSettings, target: Path, before: str = "") -> subprocess.Popen[str]:
    """A fetch in a process of its own."""
    environment = {
        **os.environ,
        "FETCH": settings.model_dump_json(),
        "TARGET": str(target),
        "PYTHONPATH": str(ROOT / "src"),
    }
    return subprocess.Popen(
        [sys.executable, "-c", before + PROGRAM],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_killed_fetch_goes_on_where_it_was(
    over_ssh: Configure, server: SshServer, raw: Path, tmp_path: Path, transferred: list[str]
) -> None:
    n_bytes = sum(path.stat().st_size for path in (raw / "images").iterdir())
    n_photos = sum(1 for shard in shard_paths(raw / "images") for _ in read_shard(shard))
    shares = [random.uniform(0.15, 0.35) for _ in range(3)]
    proxy = Proxy(server.port, after=[int(n_bytes * share) for share in shares], hang=True)
    for share in shares:
        process = program(over_ssh(port=proxy.port), tmp_path / "raw")
        seen = proxy.bytes
        while proxy.bytes < seen + int(n_bytes * share):
            time.sleep(0.02)
            assert process.poll() is None, process.communicate()[0]
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (tmp_path / "raw" / "images").exists()
    assert bring(over_ssh(port=proxy.port), tmp_path / "raw") == content_of(raw)
    # What was under way when it was killed, up to READ_AHEAD each time, comes again.
    assert 0 < len(transferred) < n_photos * (1 - sum(shares)) + 75
    proxy.close()


def test_a_full_disk_is_a_sentence_and_space_is_all_it_takes(over_ssh: Configure, raw: Path, tmp_path: Path) -> None:
    limit = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (150_000, 150_000))\n"
    process = program(over_ssh(), tmp_path / "raw", before=limit)
    output = process.communicate()[0]
    assert process.returncode == 1
    assert "ERROR: the disk is full" in output
    assert "Traceback" not in output
    assert not (tmp_path / "raw" / "images").exists()
    assert bring(over_ssh(), tmp_path / "raw") == content_of(raw)


def test_two_fetches_at_once_take_turns(over_ssh: Configure, raw: Path, tmp_path: Path) -> None:
    both = [program(over_ssh(), tmp_path / name) for name in ("one", "two")]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert content_of(tmp_path / "one") == content_of(tmp_path / "two") == content_of(raw)
    assert sum("transferring: " in output for output in outputs) == 1


# A dump that changes


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


# A server that lies

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
