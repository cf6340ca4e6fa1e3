"""The names that a server answers to.

A foreign page could otherwise reach it under a name of its own that resolves to this machine.
"""

import argparse
import ipaddress
import re
from collections.abc import Sequence

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_NAME = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")


def host_name(text: str) -> str:
    """Parse a name or an address as it is in a Host header, without a port. Raises ArgumentTypeError.

    >>> host_name("Shop.example"), host_name("*.shop.example"), host_name("::1")
    ('shop.example', '*.shop.example', '[::1]')
    """
    name = text.strip().lower()
    if _NAME.fullmatch(name):
        return name
    try:
        return f"[{ipaddress.IPv6Address(name.strip('[]'))}]"
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a host, such as shop.example") from None


def is_local(address: str) -> bool:
    """Return whether only this machine can reach an IP address."""
    return ipaddress.ip_address(address).is_loopback


def known_hosts(host: str, address: str, allowed: Sequence[str]) -> list[str]:
    """Return the hosts that a server answers to, "*" for any; see `host_name`.

    `host` is the name that it listens on, `address` the IP address of this name, `allowed` are further hosts. Without
    these, a server that other machines can reach answers to any.
    """
    if not allowed and not is_local(address):
        return ["*"]
    own = [f"[{name}]" if ":" in name else name.lower() for name in (host, address)]
    return [*dict.fromkeys([*own, *LOCAL_NAMES, *allowed])]
