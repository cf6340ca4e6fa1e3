"""The names that a server answers to, the pages that may ask it, and its prefix behind a proxy.

A foreign page could otherwise reach it under a name of its own that resolves to this machine.
"""

import argparse
import ipaddress
import re
from collections.abc import Sequence

from marketplace.common.console import port

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
DEFAULT_PORTS = {"http": 80, "https": 443}  # which an Origin header leaves out
OWN_PATHS = ("/api", "/assets", "/health", "/openapi.json", "/ready")
_NAME = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_ORIGIN = re.compile(r"(https?)://([^/?#@*:]+|\[[^]]+\])(?::([0-9]+))?")
_PREFIX = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*/?")


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


def origin(text: str) -> str:
    """Parse the origin of pages as a browser names it in an Origin header. Raises ArgumentTypeError.

    >>> origin("https://Shop.example"), origin("http://localhost:3000"), origin("https://shop.example:443")
    ('https://shop.example', 'http://localhost:3000', 'https://shop.example')
    """
    match = _ORIGIN.fullmatch(text.strip().lower())
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an origin: name a scheme and a host, and no path, such as https://shop.example"
        )
    scheme, host, port_text = match.groups()
    port_number = port(port_text) if port_text else DEFAULT_PORTS[scheme]
    shown_port = "" if port_number == DEFAULT_PORTS[scheme] else f":{port_number}"
    return f"{scheme}://{host_name(host)}{shown_port}"


def path_prefix(text: str) -> str:
    """Parse the path under which a proxy serves the page; empty: none. Raises ArgumentTypeError.

    >>> path_prefix("/shop/"), path_prefix("/a/b"), path_prefix("/")
    ('/shop', '/a/b', '')
    """
    prefix = text.strip().rstrip("/")
    if prefix in OWN_PATHS:
        raise argparse.ArgumentTypeError(f"{prefix} is an address of this server: choose another prefix, such as /shop")
    if not _PREFIX.fullmatch(prefix):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a path such as /shop: a slash, then letters, digits and the characters - . _ ~"
        )
    return prefix


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
