"""Private keys as programs write them: each is the key that it was made from, or the message says why not."""

import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from marketplace.common.errors import MarketplaceError
from marketplace.sources.private_keys import parse_private_key

PASSPHRASE = "correct horse"
KEYS: dict[str, Any] = {
    "RSA": rsa.generate_private_key(65537, 2048),
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-521": ec.generate_private_key(ec.SECP521R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}
FORMATS = (PrivateFormat.PKCS8, PrivateFormat.OpenSSH, PrivateFormat.TraditionalOpenSSL)
NO_FORMAT = ("Ed25519", PrivateFormat.TraditionalOpenSSL)  # OpenSSL has never written it
UNSUPPORTED_KEYS: dict[str, Any] = {
    "Ed448": ed448.Ed448PrivateKey.generate(),
    "secp256k1": ec.generate_private_key(ec.SECP256K1()),
}
PARAMETERS = (
    "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"  # as `openssl ecparam` does
)


def write(key: Any, kind: PrivateFormat = PrivateFormat.PKCS8, encrypted: bool = False) -> str:
    """Write a key as PEM."""
    encryption = BestAvailableEncryption(PASSPHRASE.encode()) if encrypted else NoEncryption()
    return str(key.private_bytes(Encoding.PEM, kind, encryption).decode())


def expect_same_key(text: str, name: str, passphrase: str | None) -> None:
    """Check that a text is read as one of KEYS."""
    public = KEYS[name].public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    assert parse_private_key(text, passphrase, "here").get_base64() == public.split()[1].decode()


@pytest.mark.parametrize(("name", "kind"), [pair for pair in product(KEYS, FORMATS) if pair != NO_FORMAT])
def test_a_key_is_the_key_that_it_was_made_from(name: str, kind: PrivateFormat) -> None:
    plain = write(KEYS[name], kind)
    for text in (
        plain,
        plain.replace("\n", "\r\n"),
        "\ufeff" + plain,
        f"Bag Attributes\n    friendlyName: x\n{plain}",
    ):
        expect_same_key(text, name, None)
        expect_same_key(text, name, "of another key")
    encrypted = write(KEYS[name], kind, encrypted=True)
    expect_same_key(encrypted, name, PASSPHRASE)
    with pytest.raises(MarketplaceError, match="is encrypted: put its passphrase into"):
        parse_private_key(encrypted, None, "here")
    with pytest.raises(MarketplaceError, match="does not open the private key"):
        parse_private_key(encrypted, "wrong", "here")


def test_a_key_on_an_elliptic_curve_may_follow_its_parameters() -> None:
    expect_same_key(PARAMETERS + write(KEYS["P-256"], PrivateFormat.TraditionalOpenSSL), "P-256", None)


@pytest.mark.parametrize("cipher", ["aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr"])
def test_every_cipher_of_openssh_is_known(tmp_path: Path, cipher: str) -> None:
    path = tmp_path / "key"
    path.write_text(write(KEYS["Ed25519"], PrivateFormat.OpenSSH))
    path.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-Z", cipher, "-N", PASSPHRASE, "-f", path], check=True)
    expect_same_key(path.read_text(), "Ed25519", PASSPHRASE)


@pytest.mark.parametrize("name", UNSUPPORTED_KEYS)
@pytest.mark.parametrize("encrypted", [False, True])
def test_a_correct_passphrase_is_not_blamed_for_the_algorithm(name: str, encrypted: bool) -> None:
    with pytest.raises(MarketplaceError, match="here is not an Ed25519, ECDSA or RSA private key"):
        parse_private_key(write(UNSUPPORTED_KEYS[name], encrypted=encrypted), PASSPHRASE, "here")


@pytest.mark.parametrize("kind", [PrivateFormat.PKCS8, PrivateFormat.OpenSSH])
def test_the_passphrase_of_another_key_is_not_blamed_for_a_cut_file(kind: PrivateFormat) -> None:
    text = write(KEYS["RSA"], kind)
    with pytest.raises(MarketplaceError, match="here is not an Ed25519, ECDSA or RSA private key"):
        parse_private_key(text[:400], "of another key", "here")
