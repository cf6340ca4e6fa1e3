"""Real servers for the tests: OpenSSH's sshd, and SeaweedFS, which speaks S3."""

import contextlib
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import botocore.session
import pytest
from botocore.config import Config

TEST_USER = "marketplace-test"  # sshd runs as this user and lets it in when the tests run as root
OWNER_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "owner-secret-0123456789"}
STRANGER_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "stranger", "AWS_SECRET_ACCESS_KEY": "stranger-secret-0123456789"}


class KeyKind(NamedTuple):
    """A kind of private key."""

    algorithm: str
    passphrase: str


KEY_KINDS = {
    "id_ed25519": KeyKind(algorithm="ed25519", passphrase=""),
    "id_ecdsa": KeyKind(algorithm="ecdsa", passphrase=""),
    "id_rsa": KeyKind(algorithm="rsa", passphrase=""),
    "locked": KeyKind(algorithm="ed25519", passphrase="open sesame"),
}


def free_port() -> int:
    """Return a port that nothing listens on, below those that the system gives to outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def wait_for_port(port: int, process: subprocess.Popen[Any], log: Path, seconds: float = 30.0) -> None:
    """Wait until something listens on `port`; fail if `process` ends first, or after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on port {port}, exit code {process.poll()}:\n{log.read_text()[-2000:]}")


def generate_key(path: Path, algorithm: str = "ed25519", passphrase: str = "") -> str:
    """Make a key pair with ssh-keygen and return the text of the private key. RSA keys are PEM, as EC2's are."""
    key_format = ["-m", "PEM"] if algorithm == "rsa" else []
    subprocess.run(["ssh-keygen", "-q", "-t", algorithm, *key_format, "-N", passphrase, "-f", path], check=True)
    return path.read_text()


@dataclass(frozen=True)
class KeyPairs:
    """Key pairs in a folder, by name."""

    folder: Path

    def private(self, name: str) -> str:
        """Return the text of a private key."""
        return (self.folder / name).read_text()

    def public(self, name: str) -> Path:
        """Return the file of a public key."""
        return self.folder / f"{name}.pub"


def process_tree(pid: int) -> list[int]:
    """Return the ids of a process and of all processes below it, parents first."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:  # it has just ended
        return []
    return [pid, *(descendant for child in children for descendant in process_tree(int(child)))]


class SshServer:
    """An sshd on a high port of this machine, run by an ordinary user; `folder` is for its data."""

    def __init__(self, *options: str) -> None:
        sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
        if sshd is None:
            pytest.skip("sshd is not installed: apt-get install openssh-server")
        if os.getuid() == 0 and not any(entry.pw_name == TEST_USER for entry in pwd.getpwall()):
            pytest.skip(f"as root, the tests run sshd as the user {TEST_USER}: useradd --create-home {TEST_USER}")
        self._sshd = sshd
        self.user = pwd.getpwuid(os.getuid()).pw_name if os.getuid() else TEST_USER
        self.folder = Path(tempfile.mkdtemp(prefix="sshd-"))
        self.folder.chmod(0o755)
        self.port = free_port()
        self.options = options
        generate_key(self.folder / "host_key")
        (self.folder / "authorized_keys").touch()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def fingerprint(self) -> str:
        """The host key's fingerprint, as ssh-keygen prints it."""
        line = subprocess.check_output(["ssh-keygen", "-lf", self.folder / "host_key.pub"], text=True)
        return line.split()[1]

    def settings(self) -> dict[str, object]:
        """Return fetch.ec2 for the folder `dump` of this server."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "user": self.user,
            "path": f"{self.folder}/dump",
            "key": "s3://keys/id_ed25519",
            "known_hosts": None,
            "fingerprint": self.fingerprint,
        }

    def known_hosts_line(self) -> str:
        """Return the line of a known_hosts file."""
        return f"[127.0.0.1]:{self.port} {(self.folder / 'host_key.pub').read_text()}"

    def authorize(self, public_key: Path) -> None:
        """Let the owner of a key log in."""
        with (self.folder / "authorized_keys").open("a") as file:
            file.write(public_key.read_text())

    def start(self) -> "SshServer":
        """Start listening."""
        (self.folder / "sshd_config").write_text(
            "\n".join(
                [
                    f"Port {self.port}",
                    "ListenAddress 127.0.0.1",
                    f"HostKey {self.folder}/host_key",
                    "PidFile none",
                    f"AuthorizedKeysFile {self.folder}/authorized_keys",
                    "StrictModes no",
                    "UsePAM no",
                    "PasswordAuthentication no",
                    "Subsystem sftp internal-sftp",
                    *self.options,
                ]
            )
        )
        command = [self._sshd, "-D", "-e", "-f", f"{self.folder}/sshd_config"]
        self.take_ownership()
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
            command = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups", *command]
        log = self.folder / "sshd.log"
        with log.open("ab") as file:
            self.process = subprocess.Popen(command, stderr=file)
        wait_for_port(self.port, self.process, log)
        return self

    def take_ownership(self) -> None:
        """Make the server's user the owner of everything in the folder."""
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", self.user, self.folder], check=True)

    def stop(self) -> None:
        """Stop listening, and end every connection."""
        if self.process is not None:
            for pid in process_tree(self.process.pid):  # sshd puts each connection into another process group
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def remove(self) -> None:
        """Stop, and delete the folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class S3Server:
    """SeaweedFS, which speaks S3: its owner may do everything, a stranger what bucket policies allow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "S3Server":
        """Start it, and wait until it can store an object, which takes some seconds longer than listening."""
        log = self._folder / "weed.log"
        with log.open("wb") as file:
            self.process = subprocess.Popen(self._command(), stdout=file, stderr=subprocess.STDOUT)
        wait_for_port(self.port, self.process, log)
        deadline = time.monotonic() + 30
        while True:
            try:
                self.upload("ready", {"x": b"x"})
                return self
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def _command(self) -> list[str]:
        identities = [
            _identity("owner", OWNER_CREDENTIALS, ["Admin", "Read", "Write", "List", "Tagging"]),
            _identity("stranger", STRANGER_CREDENTIALS, ["Read", "List", "Write"]),  # but see `refuse_strangers`
        ]
        configuration = self._folder / "s3.json"
        configuration.write_text(json.dumps({"identities": identities}))
        return [
            "weed",
            "server",
            "-s3",
            f"-dir={self._folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-volume.max=50",
            "-master.volumeSizeLimitMB=64",
            f"-s3.port={self.port}",
            "-s3.port.iceberg=0",  # it and Lance would listen on fixed ports, which a second server cannot have
            "-s3.port.lance=0",
            f"-s3.config={configuration}",
            *(f"-{name}.port={free_port()}" for name in ("master", "volume", "filer")),
            *(f"-{name}.port.grpc={free_port()}" for name in ("master", "volume", "filer", "s3")),
        ]

    def environment(self) -> dict[str, str]:
        """Return the environment variables of the owner."""
        return {
            **OWNER_CREDENTIALS,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REQUEST_CHECKSUM_CALCULATION": "WHEN_REQUIRED",
        }

    def client(self) -> Any:
        """Return a client with the owner's credentials."""
        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=OWNER_CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=OWNER_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            config=Config(request_checksum_calculation="when_required"),
        )

    def refuse_strangers(self, bucket: str) -> None:
        """Give a bucket a policy that denies the stranger everything."""
        resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        deny = {"Effect": "Deny", "Principal": {"AWS": ["arn:aws:iam::000000000000:user/stranger"]}, "Action": "s3:*"}
        policy = {"Version": "2012-10-17", "Statement": [{**deny, "Resource": resources}]}
        self.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    def upload(self, bucket: str, files: dict[str, bytes]) -> None:
        """Put files into a bucket; create it if necessary."""
        client = self.client()
        with contextlib.suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=bucket)
        for key, content in files.items():
            client.put_object(Bucket=bucket, Key=key, Body=content)

    def stop(self) -> None:
        """Stop at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def _identity(name: str, credentials: dict[str, str], actions: list[str]) -> dict[str, object]:
    key_pair = {
        "accessKey": credentials["AWS_ACCESS_KEY_ID"],
        "secretKey": credentials["AWS_SECRET_ACCESS_KEY"],
    }
    return {"name": name, "credentials": [key_pair], "actions": actions}


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Start an S3 server that stores in a folder, and stop it after the block."""
    server = S3Server(folder)
    try:
        yield server.start()
    finally:
        server.stop()


@contextlib.contextmanager
def ssh_server(*options: str) -> Iterator[SshServer]:
    """Start an SSH server, and remove it after the block."""
    server = SshServer(*options)
    try:
        yield server.start()
    finally:
        server.remove()
