"""A receiver of webhooks on loopback, such as Slack's: it keeps what it was sent and answers what it is told to."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.serving import answering

SLACK_REFUSAL = "no_text"


@dataclass
class Receiver:
    """One receiver.

    Args:
        url: where messages go.
        messages: the JSON of those it accepted, in order.
        answers: statuses for the next requests; when they are used up, Slack's own rule applies: 200 `ok` for a
            message with `text` or `blocks`, 400 `no_text` for another.
        requests: how many came, refused ones included.

    """

    url: str
    messages: list[Any] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    requests: int = 0

    def judge(self, body: bytes) -> tuple[int, str]:
        """Status and text for one request."""
        self.requests += 1
        if self.answers:
            status = self.answers.pop(0)
            if status != 200:
                return status, "told to refuse"
        try:
            message = json.loads(body)
        except ValueError:
            return 400, "invalid_payload"
        if not isinstance(message, dict) or not (message.get("text") or message.get("blocks")):
            return 400, SLACK_REFUSAL
        self.messages.append(message)
        return 200, "ok"


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens while inside."""
    receiver = Receiver("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, text = receiver.judge(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            self.send_response(status)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}/services/T000/B000/secret"
        yield receiver
