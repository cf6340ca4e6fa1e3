"""Where a machine is and how to log in: from `fetch.ec2`, and from the entry for its name in `~/.ssh/config`."""

import getpass
import glob
import re
from pathlib import Path
from typing import NamedTuple

import paramiko

from marketplace.common.errors import MarketplaceError, first_line
from marketplace.sources.known_hosts import SSH_PORT

CONFIG_FILE = "~/.ssh/config"
DEFAULT_USER = "ubuntu"
MAX_HOPS = 8
CONFIG_ERRORS = (paramiko.ConfigParseError, paramiko.CouldNotCanonicalize, ImportError, KeyError, ValueError)
MAX_INCLUDES = 16  # files inside files, as in OpenSSH
_ADDRESS = re.compile(
    r"(?:ssh://)?(?:(?P<user>.+)@)?(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<ipv6>[\da-f]*:[\da-f]*:[\da-f:.]*(?:%\w+)?)|(?P<name>[^@:\[\]/]+))"
    r"(?::(?P<port>\d+))?/?",
    re.IGNORECASE,
)


class Address(NamedTuple):
    """A machine, the account there, and the machine that leads to it."""

    host: str
    port: int
    user: str
    key_files: list[Path]  # of the account's private keys, that ~/.ssh/config names
    jump: "Address | None"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class _Parts(NamedTuple):
    """An address as a person writes it."""

    user: str | None
    name: str
    port: int | None


def find_address(host: str, user: str | None, port: int | None) -> Address:
    """Return where `fetch.ec2.host` leads, which may be `user@host`, `[::1]:22` or a name in ~/.ssh/config.

    `fetch.ec2.user` and `fetch.ec2.port` come first, then ~/.ssh/config, then "ubuntu" and 22.

    Raises MarketplaceError if they contradict `host`, or if there is no such address.
    """
    parts = _parse(host, "fetch.ec2.host")
    for name, written, value in (("user", parts.user, user), ("port", parts.port, port)):
        if written is not None and value is not None and written != value:
            raise MarketplaceError(
                f"fetch.ec2.host = {host!r} and fetch.ec2.{name} = {value!r} contradict each other: set "
                f"fetch.ec2.{name}=null."
            )
    whole = _Parts(user=parts.user or user, name=parts.name, port=parts.port or port)
    return _look_up(whole, _load_config(), DEFAULT_USER, MAX_HOPS)


def find_key_file(address: Address) -> Path | None:
    """Return the first of the private keys that ~/.ssh/config names for a machine and that exists."""
    return next((file for file in address.key_files if file.is_file()), None)


def _parse(text: str, where: str) -> _Parts:
    match = _ADDRESS.fullmatch(text.strip())
    port = int(match["port"]) if match is not None and match["port"] else None
    if match is None or (port is not None and not 1 <= port <= 65535):
        raise MarketplaceError(
            f"{where} = {text!r} is not a machine: it must look like HOST, USER@HOST, HOST:PORT or [IPV6]:PORT."
        )
    return _Parts(user=match["user"], name=match["bracketed"] or match["ipv6"] or match["name"], port=port)


def _look_up(parts: _Parts, config: paramiko.SSHConfig, default_user: str, n_hops: int) -> Address:
    """Complete an address by ~/.ssh/config, with the machines on the way, which are `n_hops` at most."""
    if n_hops == 0:
        raise MarketplaceError(f"{CONFIG_FILE} has a ProxyJump that leads in a circle, or over {MAX_HOPS} machines.")
    try:
        options = config.lookup(parts.name)
        port = parts.port or int(options.get("port", SSH_PORT))
    except CONFIG_ERRORS as error:
        raise _config_error(error) from None
    user = parts.user or options.get("user") or default_user
    jump = None
    jumps = [spec.strip() for spec in options.get("proxyjump", "none").split(",")]
    if jumps != ["none"]:
        jump = _look_up_jumps(jumps, config, n_hops - 1)
    elif options.get("proxycommand"):
        raise MarketplaceError(
            f"{CONFIG_FILE} reaches {parts.name!r} by a ProxyCommand, which fetch does not run: write it as ProxyJump, "
            "or set fetch.ec2.host to an address that can be reached directly."
        )
    return Address(
        host=options["hostname"],
        port=port,
        user=user,
        key_files=[Path(name).expanduser() for name in options.get("identityfile", [])],
        jump=jump,
    )


def _look_up_jumps(jumps: list[str], config: paramiko.SSHConfig, n_hops: int) -> Address:
    """Return the last of the machines of a ProxyJump, each of which leads to the next."""
    address = None
    for index, jump in enumerate(jumps):
        parts = _parse(jump, f"ProxyJump in {CONFIG_FILE}")
        next_address = _look_up(parts, config, getpass.getuser(), max(n_hops - index, 0))  # the user as in OpenSSH
        address = next_address if address is None else next_address._replace(jump=address)
    assert address is not None  # a ProxyJump has one machine at least
    return address


def _load_config() -> paramiko.SSHConfig:
    try:
        return paramiko.SSHConfig.from_text("\n".join(_config_lines(Path(CONFIG_FILE).expanduser(), MAX_INCLUDES)))
    except CONFIG_ERRORS as error:
        raise _config_error(error) from None


def _config_lines(file: Path, n_includes: int) -> list[str]:
    """Return the lines of a configuration; the lines of an included file take the place of the `Include`."""
    if not file.is_file() or n_includes == 0:
        return []
    lines = []
    for line in file.read_bytes().decode(errors="replace").splitlines():
        keyword, *patterns = re.split(r"[\s=]+", line.strip())
        if keyword.lower() != "include":
            lines.append(line)
            continue
        for pattern in patterns:
            path = Path(CONFIG_FILE).parent / pattern.strip('"')  # an absolute pattern, or one with ~, stays as it is
            for included in sorted(glob.glob(str(path.expanduser()))):  # noqa: PTH207  # pathlib globs in one folder
                lines += _config_lines(Path(included), n_includes - 1)
    return lines


def _config_error(error: Exception) -> MarketplaceError:
    return MarketplaceError(f"{CONFIG_FILE} cannot be read: {first_line(error)}.")
