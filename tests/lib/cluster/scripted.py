"""A real HTTPS server that answers from a script: for errors that a healthy server does not have."""

import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tasks.lib.cluster.api import Api, Patience
from tasks.lib.cluster.endpoint import Endpoint
from tests.serving import answering


@dataclass
class Answer:
    """One answer: `status` 0 drops the connection without a word."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Scripted:
    """The server: answers in order, the last one for ever; and what it was asked."""

    endpoint: Endpoint
    answers: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_answer(self) -> Answer:
        with self.lock:
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def api(self, total: float = 30.0, attempt: float = 30.0) -> Api:
        return Api(self.endpoint, lambda: "a-token", Patience(attempt, total))

    def patient_api(self) -> Api:
        """For tests of many requests at once, which a busy machine may hold up."""
        return self.api(total=120.0, attempt=60.0)


def status(code: int, reason: str, message: str, **details: Any) -> Answer:
    """A refusal as Kubernetes words it."""
    body = {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}
    return Answer(code, json.dumps(body).encode())


@contextmanager
def scripted(folder: Path) -> Iterator[Scripted]:
    certificate, key = _self_signed(folder)
    server = _Server(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    script = Scripted(Endpoint(f"https://127.0.0.1:{server.server_port}", certificate.read_text()))
    server.RequestHandlerClass = _handler(script)
    with answering(server):
        yield script


class _Server(ThreadingHTTPServer):
    # Tests connect many times at once; of the usual five, a sixth is dropped and tried again after a second.
    request_queue_size = 64


def _handler(script: Scripted) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else each body waits for its header to be acknowledged: 40 ms

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            script.asked.append(Asked(self.command, self.path, dict(self.headers), body))
            answer = script.next_answer()
            if not answer.status:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_PATCH = do_POST = do_DELETE = _answer  # noqa: N815 - the names that the base class looks for

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


def _self_signed(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "scripted")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "server.crt", folder / "server.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files
