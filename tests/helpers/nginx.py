"""Debian's nginx with the configuration of the docs, and clients of it."""

import contextlib
import http.client
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from helpers.paths import ROOT
from helpers.servers import free_port, wait_for_port

CONFIGURATION = ROOT / "docs" / "nginx.conf"
NAME = "shop.example"  # the server's name in the configuration


class Nginx(NamedTuple):
    """A running nginx."""

    port: int  # for https
    http_port: int
    context: ssl.SSLContext  # trusts its certificate

    def plain_socket(self, source: str) -> socket.socket:
        """A TCP connection from an address of this machine."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20, source_address=(source, 0))

    def secure_socket(self, source: str = "127.0.0.1", name: str = NAME) -> ssl.SSLSocket:
        """A TLS connection from an address of this machine to a name."""
        return self.context.wrap_socket(self.plain_socket(source), server_hostname=name)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """The answer to a request and its body."""
        connection = http.client.HTTPConnection(NAME, self.port)
        connection.sock = self.secure_socket()
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response, response.read()


@contextlib.contextmanager
def nginx_before(server_port: int, **changes: str) -> Iterator[Nginx]:
    """Run nginx in front of a server on this machine; only paths and ports of the configuration are replaced.

    `changes` are other values of directives that it has once.
    """
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("nginx is not installed: apt-get install nginx")
    folder = Path(tempfile.mkdtemp(prefix="nginx-"))
    folder.chmod(0o755)  # its workers are another user
    port = free_port()
    http_port = free_port()
    write_certificate(folder / "certificate.pem", folder / "key.pem")
    replacements = {
        "/etc/ssl/certs/shop.example.pem": f"{folder}/certificate.pem",
        "/etc/ssl/private/shop.example.key": f"{folder}/key.pem",
        "/run/nginx.pid": f"{folder}/nginx.pid",
        "/var/log/nginx": str(folder),
        "/var/lib/nginx": str(folder),
        "listen 80": f"listen {http_port}",
        "listen 443": f"listen {port}",
        "127.0.0.1:8000": f"127.0.0.1:{server_port}",
    }
    text = CONFIGURATION.read_text()
    for documented, used in replacements.items():
        assert documented in text
        text = text.replace(documented, used)
    for directive, value in changes.items():
        text, count = re.subn(rf"\b{directive} .*;", f"{directive} {value};", text)
        assert count == 1
    (folder / "nginx.conf").write_text(text)
    log = folder / "output"
    with log.open("w") as output:
        command = [program, "-c", f"{folder}/nginx.conf", "-g", "daemon off;"]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_for_port(port, process, log)
        yield Nginx(port, http_port, ssl.create_default_context(cafile=folder / "certificate.pem"))
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def write_certificate(certificate_path: Path, key_path: Path) -> None:
    """Write a self-signed certificate for NAME, valid for a day, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key_path.write_bytes(private)
