"""Real servers for the tests: OpenSSH's sshd, SeaweedFS's S3, and a proxy that treats a connection badly."""

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
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import botocore.session
import pytest
from botocore.config import Config

KEYS = {
    "id_ed25519": ("ed25519", ""),
    "id_ecdsa": ("ecdsa", ""),
    "id_rsa": ("rsa", ""),
    "locked": ("ed25519", "open sesame"),
}

TEST_USER = "marketplace-test"  # whom sshd runs as, and lets in, where the tests run as root


def free_port() -> int:
    """A port that nothing listens on, below those that the system hands to outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def wait_for_port(port: int, process: subprocess.Popen[Any], log: Path, seconds: float = 30.0) -> None:
    """Wait until something listens on `port`; fail when `process` ends first, or too much time has gone."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on port {port}, exit code {process.poll()}:\n{log.read_text()[-2000:]}")


def generate_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> str:
    """Make a key pair with ssh-keygen; the text of the private key. PEM for RSA, as EC2 hands them out."""
    form = ["-m", "PEM"] if kind == "rsa" else []
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *form, "-N", passphrase, "-f", path], check=True)
    return path.read_text()


def process_tree(pid: int) -> list[int]:
    """Return the ids of a process and of all processes below it, parents first."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:  # it has just ended
        return []
    return [pid, *(descendant for child in children for descendant in process_tree(int(child)))]


class SshServer:
    """An sshd of its own on a high port of this machine, run by an ordinary user; `folder` is for its data."""

    def __init__(self, *options: str) -> None:
        sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
        if sshd is None:
            pytest.skip("sshd is not installed: apt-get install openssh-server")
        self.user = pwd.getpwuid(os.getuid()).pw_name if os.getuid() else TEST_USER
        if os.getuid() == 0 and not any(entry.pw_name == TEST_USER for entry in pwd.getpwall()):
            pytest.skip(f"as root, the tests let sshd run as the user {TEST_USER}: useradd --create-home {TEST_USER}")
        self._sshd = sshd
        self.folder = Path(tempfile.mkdtemp(prefix="sshd-"))
        self.folder.chmod(0o755)
        self.port = free_port()
        self.options = options
        self.new_host_key()
        (self.folder / "authorized_keys").touch()
        self.process: subprocess.Popen[bytes] | None = None

    def new_host_key(self) -> None:
        """Give the machine another identity."""
        for old in self.folder.glob("host_key*"):
            old.unlink()
        generate_key(self.folder / "host_key")

    @property
    def fingerprint(self) -> str:
        """The host key's fingerprint as ssh-keygen prints it."""
        line = subprocess.check_output(["ssh-keygen", "-lf", self.folder / "host_key.pub"], text=True)
        return line.split()[1]

    def settings(self) -> dict[str, object]:
        """fetch.ec2 for the folder `dump` of this server."""
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
        """The line for a known_hosts file."""
        return f"[127.0.0.1]:{self.port} {(self.folder / 'host_key.pub').read_text()}"

    def authorize(self, public_key: Path) -> None:
        """Let the owner of a key in."""
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
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", self.user, self.folder], check=True)
            Path("/run/sshd").mkdir(exist_ok=True)
            command = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups", *command]
        log = self.folder / "sshd.log"
        with log.open("ab") as file:
            self.process = subprocess.Popen(command, stderr=file, start_new_session=True)
        wait_for_port(self.port, self.process, log)
        return self

    def own(self) -> None:
        """Hand everything in the folder to the server's user."""
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
        """Stop, and clear away."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class S3Server:
    """SeaweedFS with S3 in front; the owner may do all, a stranger what bucket policies leave."""

    owner: ClassVar = {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "owner-secret-0123456789"}
    stranger: ClassVar = {"AWS_ACCESS_KEY_ID": "stranger", "AWS_SECRET_ACCESS_KEY": "stranger-secret-0123456789"}

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        identities = [
            self._identity("owner", self.owner, ["Admin", "Read", "Write", "List", "Tagging"]),
            self._identity("stranger", self.stranger, ["Read", "List", "Write"]),  # but see `refuse_strangers`
        ]
        (folder / "s3.json").write_text(json.dumps({"identities": identities}))
        ports = [f"-{name}.port={free_port()}" for name in ("master", "volume", "filer")]
        grpc = [f"-{name}.port.grpc={free_port()}" for name in ("master", "volume", "filer", "s3")]
        self.process = subprocess.Popen(
            [
                "weed",
                "server",
                "-s3",
                f"-dir={folder}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                "-volume.max=50",
                "-master.volumeSizeLimitMB=64",
                f"-s3.port={self.port}",
                "-s3.port.iceberg=0",  # it and Lance would listen on fixed ports, which a second server cannot have
                "-s3.port.lance=0",
                f"-s3.config={folder}/s3.json",
                *ports,
                *grpc,
            ],
            stdout=(folder / "weed.log").open("wb"),
            stderr=subprocess.STDOUT,
        )
        wait_for_port(self.port, self.process, folder / "weed.log")
        self.url = f"http://127.0.0.1:{self.port}"
        deadline = time.monotonic() + 30
        while True:  # it listens some seconds before it can store
            try:
                self.client().create_bucket(Bucket="ready")
                self.client().put_object(Bucket="ready", Key="x", Body=b"x")
                break
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    @staticmethod
    def _identity(name: str, keys: dict[str, str], actions: list[str]) -> dict[str, object]:
        credentials = [{"accessKey": keys["AWS_ACCESS_KEY_ID"], "secretKey": keys["AWS_SECRET_ACCESS_KEY"]}]
        return {"name": name, "credentials": credentials, "actions": actions}

    def environment(self, keys: dict[str, str] | None = None) -> dict[str, str]:
        """What a user of this store has in the environment."""
        return {
            **(keys or self.owner),
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REQUEST_CHECKSUM_CALCULATION": "WHEN_REQUIRED",
        }

    def client(self) -> Any:
        """The owner's client."""
        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=self.owner["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.owner["AWS_SECRET_ACCESS_KEY"],
            config=Config(request_checksum_calculation="when_required"),
        )

    def refuse_strangers(self, bucket: str) -> None:
        """Give a bucket a policy that denies the stranger everything."""
        resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        deny = {"Effect": "Deny", "Principal": {"AWS": ["arn:aws:iam::000000000000:user/stranger"]}, "Action": "s3:*"}
        policy = {"Version": "2012-10-17", "Statement": [{**deny, "Resource": resources}]}
        self.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    def upload(self, bucket: str, files: dict[str, bytes]) -> None:
        """Put files into a bucket, made if need be."""
        client = self.client()
        with contextlib.suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=bucket)
        for key, content in files.items():
            client.put_object(Bucket=bucket, Key=key, Body=content)

    def stop(self) -> None:
        """Stop."""
        self.process.kill()
        self.process.wait()


class Proxy:
    """Passes a TCP connection on, and cuts it (or lets it hang) after a number of bytes from the server.

    `after` gives that number for the first connection, the second, and so on; later ones pass unharmed.
    """

    def __init__(self, target: int, after: list[int], hang: bool = False) -> None:
        self._target, self._after, self._hang = target, list(after), hang
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.connections = 0
        self.bytes = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                limit = self._after.pop(0) if self._after else None
                server = socket.create_connection(("127.0.0.1", self._target))
                threading.Thread(target=self._pass, args=(client, server, None), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, limit), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 14):
                if limit is not None:
                    data = data[: limit - passed]
                    passed += len(data)
                    self.bytes += len(data)
                sink.sendall(data)
                if limit is not None and passed >= limit:
                    if self._hang:
                        time.sleep(3600)
                    break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
                end.close()

    def close(self) -> None:
        """Accept no more."""
        self._listener.close()


@contextlib.contextmanager
def ssh_server(*options: str) -> Iterator[SshServer]:
    """A running SSH server."""
    server = SshServer(*options)
    try:
        yield server.start()
    finally:
        server.remove()
