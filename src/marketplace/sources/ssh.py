"""A connection over SSH to a machine whose host key is known, with a private key that stays in memory."""

import logging
from pathlib import Path
from typing import Annotated

import paramiko
from pydantic import Field

from marketplace.common.errors import MarketplaceError
from marketplace.common.params import Section
from marketplace.sources.mirror import RemoteInterrupted

CONNECT_SECONDS = 15.0
STALL_SECONDS = 30.0  # a server that is silent for this long hangs
# The window allows 200 MB/s at 20 ms. A larger one is slower, because paramiko moves its whole content at every read.
WINDOW_BYTES = 2**22
PACKET_BYTES = 2**17  # the most that is possible: every packet costs Python time

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # it logs what it also raises, with tracebacks


class Ec2Settings(Section):
    """The dump on a machine reached over SSH, and the S3 address of the private key."""

    host: str | None
    port: Annotated[int, Field(ge=1, le=65535)]
    user: str
    path: str | None
    key: str | None
    known_hosts: str | None
    fingerprint: Annotated[str, Field(pattern="^SHA256:[A-Za-z0-9+/]{43}$")] | None


def connect(settings: Ec2Settings, key: paramiko.PKey) -> paramiko.SSHClient:
    """Log in. The host key must be the pinned one or be in the known_hosts file; it is never added automatically.

    Raises MarketplaceError if the host key or the user is refused, RemoteInterrupted if trying again may help.
    """
    host = str(settings.host)
    where = f"{settings.host}:{settings.port}"
    client = paramiko.SSHClient()
    if settings.fingerprint is None:
        _load_known_hosts(client, settings.known_hosts)
    client.set_missing_host_key_policy(_PinnedKey(settings.fingerprint, where))
    try:
        client.connect(
            host,
            settings.port,
            settings.user,
            pkey=key,
            look_for_keys=False,
            allow_agent=False,
            timeout=CONNECT_SECONDS,
            banner_timeout=CONNECT_SECONDS,
            auth_timeout=CONNECT_SECONDS,
            transport_factory=_make_transport,
        )
    except MarketplaceError:
        client.close()
        raise
    except paramiko.BadHostKeyException as error:
        client.close()
        raise MarketplaceError(
            f"the host key of {where} has CHANGED: known_hosts has {error.expected_key.fingerprint}, the machine shows "
            f"{error.key.fingerprint}. Somebody may be listening in. If the machine was set up again, remove the old "
            f"line (ssh-keygen -R '[{host}]:{settings.port}') and pin the new key: fetch.ec2.fingerprint="
            f"{error.key.fingerprint}"
        ) from None
    except paramiko.AuthenticationException:
        client.close()
        raise MarketplaceError(
            f"{where} refused the user {settings.user!r} with the key {settings.key}: check fetch.ec2.user, and that "
            "the key's public half is in that user's authorized_keys."
        ) from None
    except (paramiko.SSHException, EOFError, OSError) as error:
        client.close()
        raise RemoteInterrupted(f"cannot connect to {where} ({_reason(error)})") from None
    transport = client.get_transport()
    assert transport is not None
    transport.set_keepalive(15)
    return client


def _make_transport(sock, **arguments):  # type: ignore[no-untyped-def]  # paramiko's arguments vary
    transport = paramiko.Transport(
        sock, default_window_size=WINDOW_BYTES, default_max_packet_size=PACKET_BYTES, **arguments
    )
    options = transport.get_security_options()
    # AES-GCM first: it needs no separate MAC, so a packet takes half the time.
    options.ciphers = tuple(sorted(options.ciphers, key=lambda name: "gcm" not in name))
    return transport


def _load_known_hosts(client: paramiko.SSHClient, path: str | None) -> None:
    known_hosts = Path(path or "~/.ssh/known_hosts").expanduser()
    if known_hosts.is_file():
        client.load_host_keys(str(known_hosts))
    elif path is not None:
        raise MarketplaceError(f"fetch.ec2.known_hosts = {path!r} is not a file.")


class _PinnedKey(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]  # paramiko is not typed
    """Accepts the host key that has the pinned fingerprint, and refuses every other."""

    def __init__(self, fingerprint: str | None, where: str) -> None:
        self._fingerprint = fingerprint
        self._where = where

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Accept or refuse a host key that is in no known_hosts file; paramiko calls this."""
        shown_key = f"{key.get_name()} {key.fingerprint}"
        if self._fingerprint is None:
            raise MarketplaceError(
                f"the host key of {self._where} is not known: it shows {shown_key}. If its owner confirms that key "
                "(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there), pin it: "
                f"fetch.ec2.fingerprint={key.fingerprint}"
            )
        if key.fingerprint != self._fingerprint:
            raise MarketplaceError(
                f"the host key of {self._where} is not the pinned one: it shows {shown_key}, and fetch.ec2.fingerprint "
                f"is {self._fingerprint}. Somebody may be listening in; ask the machine's owner before you pin another."
            )


def _reason(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__
