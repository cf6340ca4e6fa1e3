"""Addresses of machines as people write them, and names of ~/.ssh/config, also over a machine in between."""

import socket
from pathlib import Path

import pytest
from helpers.dumps import MakeSettings
from helpers.servers import KeyPairs, SshServer, ssh_server

from marketplace.common.errors import MarketplaceError
from marketplace.sources.addresses import Address, find_address
from marketplace.sources.dump import open_dump


@pytest.fixture
def write_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ~/.ssh/config to write to."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    return tmp_path / ".ssh" / "config"


def address(host: str, port: int = 22, user: str = "ubuntu", jump: Address | None = None) -> Address:
    return Address(host=host, port=port, user=user, key_files=[], jump=jump)


@pytest.mark.usefixtures("write_config")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shop.example", address("shop.example")),
        ("deploy@shop.example", address("shop.example", user="deploy")),
        ("anna@corp.example@shop.example:2222", address("shop.example", 2222, "anna@corp.example")),
        ("shop.example:2222", address("shop.example", 2222)),
        ("[::1]", address("::1")),
        ("::1", address("::1")),
        ("fe80::1%eth0", address("fe80::1%eth0")),
        ("deploy@[2001:db8::7]:2222", address("2001:db8::7", 2222, "deploy")),
        ("ssh://deploy@shop.example:2222/", address("shop.example", 2222, "deploy")),
        ("[127.0.0.1]:2222", address("127.0.0.1", 2222)),
    ],
)
def test_an_address_is_read_as_people_write_it(text: str, expected: Address) -> None:
    assert find_address(text, None, None) == expected


@pytest.mark.usefixtures("write_config")
@pytest.mark.parametrize("text", ["", "@", "user@", "[::1", "host:port", "host:70000", "host:", "a/b", "[::1]x"])
def test_no_address_is_named(text: str) -> None:
    with pytest.raises(MarketplaceError, match=r"fetch\.ec2\.host = .* is not a machine: it must look like"):
        find_address(text, None, None)


@pytest.mark.usefixtures("write_config")
def test_what_contradicts_the_address_is_named() -> None:
    assert find_address("deploy@shop:2222", "deploy", 2222) == address("shop", 2222, "deploy")
    with pytest.raises(MarketplaceError, match=r"fetch\.ec2\.user = 'root' contradict each other"):
        find_address("deploy@shop", "root", None)
    with pytest.raises(MarketplaceError, match=r"fetch\.ec2\.port = 22 contradict each other"):
        find_address("shop:2222", None, 22)


def test_a_name_of_the_configuration_is_looked_up(write_config: Path) -> None:
    (write_config.parent / "conf.d").mkdir()
    (write_config.parent / "conf.d" / "shops").write_text("Host shop-*\n  Port 2200\n")
    write_config.write_bytes(
        "# B\u00fcro\nInclude conf.d/* nowhere\nHost shop-a\n  HostName %h.example\n  User anna\n"
        "Host direct\n  ProxyJump none\n  ProxyCommand none\n".encode("latin-1")
    )
    assert find_address("shop-a", None, None) == address("shop-a.example", 2200, "anna")
    assert find_address("bob@shop-a", None, 22) == address("shop-a.example", 22, "bob")
    assert find_address("shop-b", None, None) == address("shop-b", 2200)
    assert find_address("direct", None, None) == address("direct")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Host shop\n  ProxyCommand nc %h %p\n", "reaches 'shop' by a ProxyCommand, which fetch does not run"),
        ("Host *\n  ProxyJump shop\n", "leads in a circle"),
        ("Host shop\n  Port many\n", r"~/\.ssh/config cannot be read: invalid literal"),
        ("Host shop\n  HostName\n", r"~/\.ssh/config cannot be read: Unparsable line"),
        ('Match host "shop\n', r"~/\.ssh/config cannot be read"),
        ("CanonicalizeHostname yes\n", r"~/\.ssh/config cannot be read"),
        ("Host shop\n  ProxyJump x:y:z\n", "ProxyJump in ~/.ssh/config"),
        ("Include config\n", None),
    ],
)
def test_what_the_configuration_cannot_do_here_is_named(write_config: Path, text: str, message: str | None) -> None:
    write_config.write_text(text)
    if message is None:
        assert find_address("shop", None, None) == address("shop")
        return
    with pytest.raises(MarketplaceError, match=message):
        find_address("shop", None, None)


def test_a_machine_is_reached_by_its_name_and_the_key_in_the_configuration(
    over_ssh: MakeSettings, server: SshServer, keys: KeyPairs, write_config: Path
) -> None:
    write_config.write_text(
        f"Host shop\n  HostName 127.0.0.1\n  Port {server.port}\n  User {server.user}\n"
        f"  IdentityFile ~/.ssh/nothing\n  IdentityFile {keys.folder / 'id_rsa'}\n"
    )
    settings = over_ssh(host="shop", port=None, user=None, key=None)
    assert open_dump(settings).table("images.csv")
    write_config.write_text(f"Host shop\n  HostName 127.0.0.1\n  Port {server.port}\n")
    settings = over_ssh(host=f"{server.user}@shop", port=None, user=None)
    assert open_dump(settings).table("images.csv")
    with pytest.raises(MarketplaceError, match=r"fetch\.ec2\.key is not set: .* or an IdentityFile"):
        open_dump(over_ssh(host="shop", key=None))


def test_a_machine_behind_others_is_reached_over_them(
    over_ssh: MakeSettings, server: SshServer, keys: KeyPairs, write_config: Path
) -> None:
    with ssh_server("AllowTcpForwarding yes") as bastion:
        bastion.authorize(keys.public("id_ecdsa"))
        write_config.write_text(
            f"Host shop\n  HostName 127.0.0.1\n  Port {server.port}\n  ProxyJump first,{bastion.user}@second\n"
            f"Host first second\n  HostName 127.0.0.1\n  Port {bastion.port}\n  User {bastion.user}\n"
            f"  IdentityFile {keys.folder / 'id_ecdsa'}\n"
        )
        settings = over_ssh(host="shop", port=None)
        known_hosts = write_config.parent / "known_hosts"
        with pytest.raises(MarketplaceError, match=rf"the host key of 127.0.0.1:{bastion.port} is not known"):
            open_dump(settings).table("images.csv")
        known_hosts.write_text(bastion.known_hosts_line())
        assert open_dump(settings).table("images.csv")
        bastion.stop()
        with pytest.raises(MarketplaceError, match=rf"cannot connect to 127.0.0.1:{bastion.port}"):
            open_dump(settings).table("images.csv")


def test_an_ipv6_address_is_reached(over_ssh: MakeSettings, keys: KeyPairs, write_config: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with ssh_server("ListenAddress ::1") as machine:
        machine.authorize(keys.public("id_ed25519"))
        (machine.folder / "dump" / "images").mkdir(parents=True)
        for name in ("products.csv", "images.csv"):
            (machine.folder / "dump" / name).write_text(name)
        machine.take_ownership()
        line = machine.known_hosts_line().replace("127.0.0.1", "::1")
        (write_config.parent / "known_hosts").write_text(line)
        settings = over_ssh(machine, host=f"[::1]:{machine.port}", port=None, fingerprint=None)
        assert open_dump(settings).table("images.csv") == b"images.csv"
