"""One of Google's REST APIs on this machine: it hands out tokens and answers what a test says."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

TOKEN = "ya29.of-a-test"


@dataclass
class GoogleServer:
    """Where it listens, what it answers to each path (the query left away), and what it was asked."""

    url: str
    answers: dict[str, tuple[int, object]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    refuses_tokens: bool = False

    def key_file(self, folder: Path) -> str:
        """The key file of a service account that gets its tokens here."""
        content = {
            "type": "service_account", "client_email": "deployer@example.org", "private_key": _private_key(),
            "token_uri": f"{self.url}/token",
        }  # fmt: skip
        (folder / "account.json").write_text(json.dumps(content))
        return str(folder / "account.json")


@contextmanager
def serving() -> Iterator[GoogleServer]:
    """A server that knows nothing yet, until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    google = GoogleServer(f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass = type("Own", (Handler,), {"google": google})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield google
    server.shutdown()
    server.server_close()
    thread.join()


class Handler(BaseHTTPRequestHandler):
    google: GoogleServer

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.google.refuses_tokens:
            self._send(400, {"error": "invalid_grant", "error_description": "Account not found."})
        else:
            self._send(200, {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"})

    def do_GET(self) -> None:
        self.google.asked.append((self.path, self.headers.get("Authorization", "")))
        self._send(*self.google.answers.get(self.path.partition("?")[0], (404, {"error": "no such path"})))

    def _send(self, status: int, content: object) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@cache
def _private_key() -> str:
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode()
