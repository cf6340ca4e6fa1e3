"""A connection over SSH to a machine whose host key is known, with a private key that stays in memory."""

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import paramiko
from pydantic import Field

from marketplace.common.errors import MarketplaceError
from marketplace.common.params import Section
from marketplace.sources.addresses import Address, find_key_file
from marketplace.sources.known_hosts import KnownHosts
from marketplace.sources.mirror import RemoteInterrupted
from marketplace.sources.private_keys import PASSPHRASE_VARIABLE, parse_private_key
from marketplace.sources.transport import HostKeyPolicy

CONNECT_SECONDS = 15.0
STALL_SECONDS = 30.0  # a server that is silent for this long hangs


class Ec2Settings(Section):
    """The dump on a machine reached over SSH, and the S3 address of the private key."""

    host: str | None
    port: Annotated[int, Field(ge=1, le=65535)] | None
    user: str | None
    path: str | None
    key: str | None
    known_hosts: str | None
    fingerprint: Annotated[str, Field(pattern="^SHA256:[A-Za-z0-9+/]{43}$")] | None


class Connection(NamedTuple):
    """A connection to a machine, over connections to the machines on the way."""

    clients: list[paramiko.SSHClient]  # in the order of the way

    @property
    def transport(self) -> paramiko.Transport:
        """The transport to the machine itself."""
        return self.clients[-1].get_transport()

    def close(self) -> None:
        """Close it."""
        for client in reversed(self.clients):
            client.close()


def connect(address: Address, key: paramiko.PKey, fingerprint: str | None, known_hosts: KnownHosts) -> Connection:
    """Log in, over the machines on the way. A host key is never added automatically.

    The host key must be the pinned one or be in the known_hosts file; on the way, it must be in the file. A machine on
    the way gets the key that ~/.ssh/config names for it, or else `key`.

    Raises MarketplaceError if a host key or the user is refused, RemoteInterrupted if trying again may help.
    """
    connection = Connection(clients=[])
    clients = connection.clients
    try:
        for hop in _way(address):
            is_last = hop is address
            policy = HostKeyPolicy(hop, fingerprint if is_last else None, known_hosts)
            hop_key = key if is_last else read_own_key(hop) or key
            way = _open_way(clients[-1], hop) if clients else None
            clients.append(_log_in(hop, hop_key, policy, way))
    except BaseException:
        connection.close()
        raise
    return connection


def read_own_key(address: Address) -> paramiko.PKey | None:
    """Read the private key that ~/.ssh/config names for a machine; None if it names none that exists.

    Raises MarketplaceError if it cannot be read or parsed.
    """
    file = find_key_file(address)
    if file is None:
        return None
    try:
        text = file.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise MarketplaceError(f"the private key {file} of ~/.ssh/config cannot be read: {error.strerror}.") from None
    return parse_private_key(text, os.environ.get(PASSPHRASE_VARIABLE), str(file))


@contextlib.contextmanager
def closed_if_silent(channel: paramiko.Channel) -> Iterator[None]:
    """Close a channel if a request takes too long in the block: paramiko itself would wait for ever."""
    timer = threading.Timer(STALL_SECONDS, channel.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _way(address: Address) -> list[Address]:
    return [*(_way(address.jump) if address.jump is not None else []), address]


def _open_way(client: paramiko.SSHClient, address: Address) -> paramiko.Channel:
    try:
        return client.get_transport().open_channel(
            "direct-tcpip", (address.host, address.port), ("127.0.0.1", 0), timeout=CONNECT_SECONDS
        )
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise RemoteInterrupted(f"cannot reach {address} over the machine before it ({_reason(error)})") from None


def _log_in(
    address: Address, key: paramiko.PKey, policy: HostKeyPolicy, way: paramiko.Channel | None
) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(policy)
    try:
        client.connect(
            address.host,
            address.port,
            address.user,
            pkey=key,
            sock=way,
            look_for_keys=False,
            allow_agent=False,
            timeout=CONNECT_SECONDS,
            banner_timeout=CONNECT_SECONDS,
            auth_timeout=CONNECT_SECONDS,
            transport_factory=policy.make_transport,
        )
        client.get_transport().set_keepalive(15)
    except MarketplaceError:
        client.close()
        raise
    except paramiko.AuthenticationException:
        client.close()
        raise MarketplaceError(
            f"{address} refused the user {address.user!r} with the key of fetch.ec2.key or ~/.ssh/config: check "
            "fetch.ec2.user, and that the key's public half is in that user's authorized_keys."
        ) from None
    except (paramiko.SSHException, EOFError, OSError) as error:
        client.close()
        raise RemoteInterrupted(f"cannot connect to {address} ({_reason(error)})") from None
    return client


def _reason(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__
