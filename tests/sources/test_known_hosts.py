"""Known_hosts files as companies have them, against a real server."""

import subprocess
from pathlib import Path

import pytest
from helpers.dumps import MakeSettings
from helpers.servers import SshServer, generate_key

from marketplace.common.errors import MarketplaceError
from marketplace.sources.dump import open_dump
from marketplace.sources.known_hosts import KnownHosts


@pytest.fixture
def stranger(tmp_path: Path) -> str:
    """Another host's public key."""
    generate_key(tmp_path / "stranger")
    return (tmp_path / "stranger.pub").read_text().strip()


def is_known(over_ssh: MakeSettings, file: Path, content: bytes) -> bool:
    """Read a table with a known_hosts file, over a real connection; False if the host is unknown."""
    file.write_bytes(content)
    try:
        return bool(open_dump(over_ssh(fingerprint=None, known_hosts=str(file))).table("images.csv"))
    except MarketplaceError as error:
        assert "is not known" in str(error)
        return False


@pytest.mark.parametrize(
    ("before", "encoding", "bad_lines"),
    [
        ("@cert-authority *.corp.example {stranger}\n", "utf-8", 0),
        ("@revoked * {stranger}\n", "utf-8", 0),
        ("{cut}\n", "utf-8", 1),
        ("old.example 1024 35 1234567890123\n\n# comment\n@unknown-marker a {stranger}\nhost\n@revoked\n", "utf-8", 4),
        ("# B\u00fcro\nother.example {stranger} B\u00fcro \u00e0\n", "latin-1", 0),
        ("# B\u00fcro \u0085 x\nother.example {stranger} \u010d\n", "utf-8", 0),
        ("# \u00fc\r\n", "utf-16", 0),
        ("# \u00fc\r\n", "utf-8-sig", 0),
        ("|1|broken|hash= {stranger}\n", "utf-8", 1),
    ],
    ids=["authority", "revoked other", "cut", "old", "Latin-1", "UTF-8", "UTF-16", "mark", "hash"],
)
def test_the_line_of_the_host_counts_and_what_is_no_key_is_skipped(
    over_ssh: MakeSettings,
    server: SshServer,
    stranger: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    before: str,
    encoding: str,
    bad_lines: int,
) -> None:
    text = before.format(stranger=stranger, cut=f"host {stranger[:40]}") + server.known_hosts_line()
    assert is_known(over_ssh, tmp_path / "known_hosts", text.encode(encoding))
    assert ("lines that are no host keys are skipped" in caplog.text) == bool(bad_lines)
    if bad_lines:
        assert f"are skipped: {bad_lines}, such as line" in caplog.text
        assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("hosts", "known"),
    [
        ("*", True),
        ("[127.0.0.*]:{port}", True),
        ("[127.0.0.?]:*", True),
        ("other,[127.0.0.1]:{port}", True),
        ("127.0.0.1", True),  # OpenSSH tries the address without the port, too
        ("*,![127.0.0.1]:{port},!127.0.0.1", False),
        ("[127.0.0.2]:{port}", False),
        ("[127.0.0.1]:22", False),
    ],
)
def test_patterns_are_openssh_s(
    over_ssh: MakeSettings, server: SshServer, tmp_path: Path, hosts: str, known: bool
) -> None:
    key = server.known_hosts_line().split(None, 1)[1]
    line = f"{hosts.format(port=server.port)} {key}"
    assert is_known(over_ssh, tmp_path / "known_hosts", line.encode()) is known


def test_a_hashed_host_is_found(over_ssh: MakeSettings, server: SshServer, tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(server.known_hosts_line())
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", file], check=True, capture_output=True)
    assert "127.0.0.1" not in file.read_text()
    assert is_known(over_ssh, file, file.read_bytes())


def test_one_of_several_keys_of_a_host_is_enough(
    over_ssh: MakeSettings, server: SshServer, stranger: str, tmp_path: Path
) -> None:
    line = server.known_hosts_line()
    lines = f"{line.split()[0]} {stranger}\n{line}"
    assert is_known(over_ssh, tmp_path / "known_hosts", lines.encode())


def test_a_revoked_key_is_refused(over_ssh: MakeSettings, server: SshServer, tmp_path: Path) -> None:
    line = server.known_hosts_line()
    (tmp_path / "known_hosts").write_text(f"{line}@revoked * {line.split(None, 1)[1]}")
    with pytest.raises(MarketplaceError, match="is REVOKED in known_hosts"):
        open_dump(over_ssh(fingerprint=None, known_hosts=str(tmp_path / "known_hosts"))).table("images.csv")


def test_an_authority_is_named(over_ssh: MakeSettings, server: SshServer, stranger: str, tmp_path: Path) -> None:
    (tmp_path / "known_hosts").write_text(f"@cert-authority * {stranger}\n")
    with pytest.raises(MarketplaceError, match=r"is not known \(known_hosts has an authority for it"):
        open_dump(over_ssh(fingerprint=None, known_hosts=str(tmp_path / "known_hosts"))).table("images.csv")


def test_a_file_that_cannot_be_read_is_named(over_ssh: MakeSettings, tmp_path: Path) -> None:
    (tmp_path / "known_hosts").symlink_to("/proc/self/mem")  # a file that even root cannot read
    with pytest.raises(MarketplaceError, match=r"the known_hosts file .* cannot be read: Input/output error"):
        open_dump(over_ssh(fingerprint=None, known_hosts=str(tmp_path / "known_hosts"))).table("images.csv")


def test_the_usual_files_are_read(stranger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "known_hosts2").write_text(f"HOST.example,host.example {stranger}\n")
    assert len(KnownHosts(None).find("Host.example", 22).trusted) == 1
    assert not KnownHosts(None).find("other.example", 22).trusted
