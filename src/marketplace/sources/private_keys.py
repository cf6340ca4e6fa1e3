"""Private keys of every usual format, as paramiko's."""

import io
from typing import Any

import asyncssh
import paramiko
from cryptography.hazmat.primitives import serialization

from marketplace.common.errors import MarketplaceError

KEY_CLASSES: tuple[type[paramiko.PKey], ...] = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)
PASSPHRASE_VARIABLE = "MARKETPLACE_KEY_PASSPHRASE"
# The base64 of OpenSSH's format, its cipher being "none".
_OPENSSH_WITHOUT_PASSPHRASE = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU"


def parse_private_key(text: str, passphrase: str | None, where: str) -> paramiko.PKey:
    """Parse an Ed25519, ECDSA or RSA private key in OpenSSH, PEM or PKCS#8 format.

    Raises MarketplaceError if the text is no such key, or the passphrase is missing or wrong. Errors never quote the
    text; they name it by `where`.
    """
    if "PRIVATE KEY-----" not in text:
        raise MarketplaceError(f"{where} is not a private key: it should begin with -----BEGIN … PRIVATE KEY-----.")
    if not _is_encrypted(text):
        passphrase = None  # for another key
    elif passphrase is None:
        raise MarketplaceError(f"the private key {where} is encrypted: put its passphrase into ${PASSPHRASE_VARIABLE}.")
    key = _decrypt(text[max(text.find("-----BEGIN"), 0) :].strip().encode(), passphrase)
    if key is None and passphrase is not None:
        raise MarketplaceError(f"the passphrase in ${PASSPHRASE_VARIABLE} does not open the private key {where}.")
    parsed = _to_paramiko(key)
    if parsed is None:
        raise MarketplaceError(f"{where} is not an Ed25519, ECDSA or RSA private key in OpenSSH, PEM or PKCS#8 format.")
    return parsed


def _is_encrypted(text: str) -> bool:
    if "BEGIN OPENSSH" in text:
        return _OPENSSH_WITHOUT_PASSPHRASE not in "".join(text.split())
    return "ENCRYPTED" in text


def _decrypt(content: bytes, passphrase: str | None) -> Any:
    """Return the key as cryptography's, or None if nobody can read it.

    asyncssh reads OpenSSH's format with every cipher, and elliptic curves with their parameters; cryptography reads
    PKCS#8 with every derivation, and carelessly copied lines.
    """
    try:
        return asyncssh.import_private_key(content, passphrase).pyca_key
    except Exception:  # neither has a common type for a wrong passphrase and an unknown format
        try:
            return serialization.load_pem_private_key(content, passphrase.encode() if passphrase is not None else None)
        except Exception:
            return None


def _to_paramiko(key: Any) -> paramiko.PKey | None:
    """Convert a key by OpenSSH's format, which paramiko reads; return None if it has no such algorithm."""
    for key_class in KEY_CLASSES:
        try:
            content = key.private_bytes(
                encoding=serialization.Encoding.PEM,
                format=serialization.PrivateFormat.OpenSSH,
                encryption_algorithm=serialization.NoEncryption(),
            )
            return key_class.from_private_key(io.StringIO(content.decode()))
        except Exception:  # paramiko has no common type either
            continue
    return None
