"""Cloud Storage as Google's own answers: it hands out tokens and says what a test wants it to say.

The sandbox's storage server knows no permissions, so what is done about those that lack is tested with this.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.private_key import private_key
from tests.serving import answering

TOKEN = "ya29.of-a-test"


@dataclass
class StorageServer:
    """Where it listens, what it answers to each path (the query left away), and what it was asked."""

    url: str
    answers: dict[str, tuple[int, object]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def key_file(self, folder: Path) -> str:
        """The key file of a service account that gets its tokens here."""
        content = {
            "type": "service_account", "client_email": "deployer@example.org",
            "private_key": private_key("deployer"), "token_uri": f"{self.url}/token",
        }  # fmt: skip
        (folder / "account.json").write_text(json.dumps(content))
        return str(folder / "account.json")


@contextmanager
def serving() -> Iterator[StorageServer]:
    """A server that knows nothing yet, until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    storage = StorageServer(f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass = type("Own", (Handler,), {"storage": storage})
    with answering(server):
        yield storage


class Handler(BaseHTTPRequestHandler):
    storage: StorageServer

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._send(200, {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"})

    def do_GET(self) -> None:
        self.storage.asked.append((self.path, self.headers.get("Authorization", "")))
        self._send(*self.storage.answers.get(self.path.partition("?")[0], (404, {"error": "no such path"})))

    def _send(self, status: int, content: object) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
