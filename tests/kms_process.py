"""A running sandbox KMS for tests: the real server process, a token endpoint, and a hand on its faults."""

import base64
import datetime
import ipaddress
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qs

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sandbox.cloud.tokens import CLOUD_PLATFORM
from sandbox.kms.access import DEFAULT_POLICY, DEPLOYER, KEY_OWNER
from tasks.lib.files import write_atomically
from tests.private_key import private_key
from tests.serving import answering

ROOT = Path(__file__).resolve().parent.parent
LOCATION = "projects/mit-lookit-keys/locations/us-east1"
RING = f"{LOCATION}/keyRings/lookit-keyring"
KEY = f"{RING}/cryptoKeys/kubernetes-secrets"
_one_writer = Lock()


@dataclass(eq=False)
class KmsProcess:
    """Where the server listens, and its state folder, through which tests steer it."""

    state: Path
    host: str
    ca_file: Path
    process: "subprocess.Popen[str]"
    token_uri: str
    since: str = ""
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, email: str = KEY_OWNER) -> Any:
        """google-cloud-kms's own client, with a fixed token of `email`; one for each, as connecting takes long."""
        token = self.token(email)
        return self._clients.get(email) or self._clients.setdefault(email, self._connected(token))

    def close(self) -> None:
        """End the connections of all clients."""
        for client in self._clients.values():
            client.transport.close()

    def _connected(self, token: str) -> Any:
        import grpc
        from google.cloud.kms_v1 import KeyManagementServiceClient
        from google.cloud.kms_v1.services.key_management_service.transports import (
            KeyManagementServiceGrpcTransport,
        )
        from google.oauth2.credentials import Credentials

        transport = KeyManagementServiceGrpcTransport(
            host=self.host,
            credentials=Credentials(token),
            ssl_channel_credentials=grpc.ssl_channel_credentials(self.ca_file.read_bytes()),
        )
        return KeyManagementServiceClient(transport=transport)

    def token(self, email: str) -> str:
        """A token that the server knows as `email`."""
        token = f"token-of-{email}"
        _note_token(self.state, token, email)
        return token

    def set_faults(self, *faults: dict[str, Any]) -> None:
        """Put these faults in force, and no others."""
        self._write("faults.json", list(faults))

    def set_policy(self, policy: dict[str, list[str]]) -> None:
        """Put this policy in force."""
        self._write("policy.json", policy)

    def grant(self, email: str, *roles: str) -> None:
        """Put the default policy in force, and these roles for `email`."""
        self.set_policy({**DEFAULT_POLICY, email: list(roles)})

    def calls(self) -> list[dict[str, str]]:
        """The audit log: one entry a call."""
        log = self.state / "audit.jsonl"
        lines = log.read_text().splitlines(keepends=True) if log.exists() else []
        # The last line may be on its way.
        whole = [json.loads(line) for line in lines if line.endswith("\n")]
        return [call for call in whole if call["time"] >= self.since]

    def reset(self) -> None:
        """No faults, the default policy, an empty log; keys stay.

        A call that began before is no entry of the new log, however late a hanging one ends.
        """
        self.since = datetime.datetime.now(datetime.UTC).isoformat()
        for name in ("faults.json", "policy.json", "audit.jsonl"):
            (self.state / name).unlink(missing_ok=True)

    def credentials_file(self, email: str) -> Path:
        """A service account's key file, as Google hands them out, that gets its tokens from this process."""
        path = self.state / "accounts" / f"{email}.json"
        if path.exists():
            return path
        content = {
            "type": "service_account", "project_id": "lookit-sandbox", "private_key_id": "1",
            "private_key": private_key(email), "client_email": email, "client_id": "1",
            "token_uri": self.token_uri,
        }  # fmt: skip
        write_atomically(path, json.dumps(content).encode())
        return path

    def _write(self, name: str, content: object) -> None:
        write_atomically(self.state / name, json.dumps(content).encode())


@contextmanager
def running(state: Path) -> Iterator[KmsProcess]:
    """Run a server over `state` until the block ends."""
    state.mkdir(parents=True, exist_ok=True)
    certificate, private_key = write_certificate(state)
    argv = [sys.executable, "-m", "sandbox.kms", *map(str, (state, 0, certificate, private_key))]
    with (
        answering(_token_endpoint(state)) as tokens,
        subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process,
    ):
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            token_uri = f"http://127.0.0.1:{tokens.server_port}/token"
            kms = KmsProcess(state, f"127.0.0.1:{port}", certificate, process, token_uri)
            yield kms
            kms.close()
            process.terminate()
            assert process.wait(60) in {0, -signal.SIGKILL}
        finally:
            process.kill()


def make_key(kms: KmsProcess, key: str = "kubernetes-secrets") -> str:
    """Create the key ring, where it is missing, and a key in it; return the key's name."""
    from google.api_core.exceptions import AlreadyExists

    client = kms.client()
    with suppress(AlreadyExists):
        client.create_key_ring(parent=LOCATION, key_ring_id="lookit-keyring", key_ring={})
    made = client.create_crypto_key(parent=RING, crypto_key_id=key, crypto_key={"purpose": "ENCRYPT_DECRYPT"})
    return str(made.name)


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost and its key, as PEM files in `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    paths = folder / "certificate.pem", folder / "private-key.pem"
    write_atomically(paths[0], certificate.public_bytes(serialization.Encoding.PEM))
    write_atomically(paths[1], key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ))  # fmt: skip
    return paths


def _note_token(state: Path, token: str, email: str) -> None:
    """Tell the server whose a token is; several may be given out at once."""
    path = state / "tokens.json"
    with _one_writer:
        tokens = json.loads(path.read_text()) if path.exists() else {}
        if token not in tokens:
            holder = {"email": email, "scopes": [CLOUD_PLATFORM] if email else [], "expires": 4e9}
            write_atomically(path, json.dumps({**tokens, token: holder}).encode())


def _token_endpoint(state: Path) -> ThreadingHTTPServer:
    """An OAuth token endpoint that believes every assertion and tells the server whose the token is."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
            if self.path == "/refuse":
                self._send(400, {"error": "invalid_grant", "error_description": "Account not found."})
                return
            claims = form["assertion"][0].split(".")[1]
            email = json.loads(base64.urlsafe_b64decode(claims + "=="))["iss"]
            token = f"issued-to-{email}"
            _note_token(state, token, email)
            self._send(200, {"access_token": token, "expires_in": 3600, "token_type": "Bearer"})

        def _send(self, status: int, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


__all__ = ["DEPLOYER", "KEY", "KEY_OWNER", "LOCATION", "RING", "KmsProcess", "make_key", "running"]
