"""paramiko's transport with bounded memory, and the check of a machine's host key."""

import logging

import paramiko

from marketplace.common.errors import MarketplaceError
from marketplace.sources.addresses import Address
from marketplace.sources.known_hosts import KnownHosts, KnownKeys, fingerprint_of

# The window allows 200 MB/s at 20 ms. A larger one is slower, because paramiko moves its whole content at every read.
WINDOW_BYTES = 2**22
PACKET_BYTES = 2**17  # the most that is possible: every packet costs Python time
MAX_PACKET_BYTES = 2**18

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # it logs its errors with tracebacks, and raises them too


class _Packetizer(paramiko.packet.Packetizer):  # type: ignore[misc]  # paramiko is not typed
    """paramiko's reader of packets, which otherwise takes packets of 4 GB and greetings without end."""

    _n_greeting_bytes = 0

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """Return the next `n` bytes."""
        if n > MAX_PACKET_BYTES:
            raise paramiko.SSHException(f"it sent a packet of {n} bytes")
        return bytes(super().read_all(n, check_rekey))

    def _read_timeout(self, timeout: float) -> bytes:
        content = bytes(super()._read_timeout(timeout))  # of the greeting, and of nothing else
        self._n_greeting_bytes += len(content)
        if self._n_greeting_bytes > MAX_PACKET_BYTES:
            raise paramiko.SSHException("its greeting has no end")
        return content


def _feed(channel: paramiko.Channel, message: paramiko.Message) -> None:
    """Keep the bytes that arrived on a channel until they are read, but no more than the machine may send."""
    channel._feed(message)
    if len(channel.in_buffer) > 2 * WINDOW_BYTES:
        raise paramiko.SSHException("it sent more than it was allowed to")


def _drop(channel: paramiko.Channel, message: paramiko.Message) -> None:
    """Drop an error message, which nobody would read."""


class _Transport(paramiko.Transport):  # type: ignore[misc]
    """paramiko's transport with bounded memory."""

    _channel_handler_table = {  # noqa: RUF012  # as in paramiko
        **paramiko.Transport._channel_handler_table,
        paramiko.common.MSG_CHANNEL_DATA: _feed,
        paramiko.common.MSG_CHANNEL_EXTENDED_DATA: _drop,
    }


class HostKeyPolicy(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Accepts the host key that is pinned, or in a known_hosts file and not revoked; refuses every other."""

    def __init__(self, address: Address, fingerprint: str | None, known_hosts: KnownHosts) -> None:
        self._address = address
        self._fingerprint = fingerprint
        if fingerprint is None:
            self._known = known_hosts.find(address.host, address.port)
        else:
            self._known = KnownKeys(trusted=[], revoked=[], has_authority=False)

    def make_transport(self, sock, **arguments):  # type: ignore[no-untyped-def]  # paramiko's arguments vary
        """Return a transport that asks for a host key of a kind that is known; paramiko calls this."""
        transport = _Transport(
            sock,
            default_window_size=WINDOW_BYTES,
            default_max_packet_size=PACKET_BYTES,
            packetizer_class=_Packetizer,
            **arguments,
        )
        options = transport.get_security_options()
        # AES-GCM first: it needs no separate MAC, so a packet takes half the time.
        options.ciphers = tuple(sorted(options.ciphers, key=lambda name: "gcm" not in name))
        kinds = {paramiko.Message(blob).get_text() for blob in self._known.trusted}
        if "ssh-rsa" in kinds:
            kinds |= {"rsa-sha2-512", "rsa-sha2-256"}  # other signatures by the same key
        options.key_types = tuple(sorted(options.key_types, key=lambda name: name not in kinds))
        return transport

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Accept or refuse a host key; paramiko calls this for every key, since it was told of none."""
        shown_key = f"{key.get_name()} {key.fingerprint}"
        if self._fingerprint is not None:
            self._compare_with_pinned(key, shown_key)
        elif key.asbytes() in self._known.revoked:
            raise MarketplaceError(
                f"the host key of {self._address} is REVOKED in known_hosts: it shows {shown_key}. Ask the machine's "
                "owner for the new key."
            )
        elif not self._known.trusted:
            raise self._unknown_key_error(key, shown_key)
        elif key.asbytes() not in self._known.trusted:
            raise self._changed_key_error(key)

    def _compare_with_pinned(self, key: paramiko.PKey, shown_key: str) -> None:
        if key.fingerprint != self._fingerprint:
            raise MarketplaceError(
                f"the host key of {self._address} is not the pinned one: it shows {shown_key}, and "
                f"fetch.ec2.fingerprint is {self._fingerprint}. Somebody may be listening in; ask the machine's owner "
                "before you pin another."
            )

    def _unknown_key_error(self, key: paramiko.PKey, shown_key: str) -> MarketplaceError:
        authority = " (known_hosts has an authority for it, whose certificates are not read)"
        return MarketplaceError(
            f"the host key of {self._address} is not known{authority if self._known.has_authority else ''}: it shows "
            f"{shown_key}. If its owner confirms that key (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there), "
            f"pin it: fetch.ec2.fingerprint={key.fingerprint}"
        )

    def _changed_key_error(self, key: paramiko.PKey) -> MarketplaceError:
        known = " or ".join(fingerprint_of(blob) for blob in self._known.trusted)
        return MarketplaceError(
            f"the host key of {self._address} has CHANGED: known_hosts has {known}, the machine shows "
            f"{key.fingerprint}. Somebody may be listening in. If the machine was set up again, remove the old line "
            f"(ssh-keygen -R '[{self._address.host}]:{self._address.port}') and pin the new key: "
            f"fetch.ec2.fingerprint={key.fingerprint}"
        )
