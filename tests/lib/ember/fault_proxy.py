"""A proxy that goes wrong on purpose, as networks and Cloud Storage do."""

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.lib.ember.sessions import Answer, Sessions

PASSING = (
    "latency", "429", "503", "500", "reset", "cut body", "lost answer", "truncated answer", "answer without end",
    "slow stream",
)  # fmt: skip
LASTING = "403"


class FaultProxy(ThreadingHTTPServer):
    """Forwards to `target`, and with `probability` does one of `faults` instead.

    What it did is counted in `happened`.  Sessions of large files are its own, true to Cloud Storage's.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target).netloc
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.latency = 0.0
        self.sessions = Sessions(self.url)
        self.happened: Counter[str] = Counter()
        self.plan(0, (), 0.0)

    def plan(self, seed: int, faults: Sequence[str], probability: float) -> None:
        """Draw from now on with this seed."""
        self._random = random.Random(seed)
        self._faults = faults
        self._probability = probability
        self._lock = threading.Lock()

    def draw(self, _path: str) -> str:
        """What goes wrong with a request for this path; mostly nothing."""
        with self._lock:
            if self._faults and self._random.random() < self._probability:
                fault = self._random.choice(self._faults)
                self.happened[fault] += 1
                return fault
            return ""

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultProxy

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._upstream = http.client.HTTPConnection(self.server.target, timeout=20)

    def finish(self) -> None:
        self._upstream.close()
        super().finish()

    def handle_request(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        fault = self.server.draw(self.path)
        body = self.rfile.read(length // 2 if fault == "cut body" else length)
        time.sleep(self.server.latency)
        if fault in {"429", "503", "500", LASTING}:
            self._refuse(int(fault))
            return
        if fault in {"reset", "cut body"}:
            if fault == "cut body" and "upload_id=" in self.path:
                self._answered(body)
            self._reset()
            return
        time.sleep(0.02 if fault == "latency" else 0)
        status, headers, answer = self._answered(body)
        if fault == "lost answer":
            self._reset()
        elif fault == "truncated answer":
            self._answer(status, headers, answer, answer[: len(answer) // 2])
            self._reset()
        elif fault == "answer without end":
            self._answer(status, headers, None, answer[: len(answer) // 2])
            self.close_connection = True
        elif fault == "slow stream":
            self._dribble(status, headers, answer)
        else:
            self._answer(status, headers, answer, answer)

    def _dribble(self, status: int, headers: list[tuple[str, str]], answer: bytes) -> None:
        self._answer(status, headers, answer, b"")
        step = 64 + len(answer) // 8
        for start in range(0, len(answer), step):
            self.wfile.write(answer[start : start + step])
            time.sleep(0.002)

    def log_message(self, *args: object) -> None:
        """Nothing is logged."""

    def _answered(self, body: bytes) -> Answer:
        """What Cloud Storage answers."""
        if "upload_id=" in self.path:
            range_ = self.headers["Content-Range"]
            return self.server.sessions.put(self.path, range_, body, self._forwarded)
        if "uploadType=resumable" in self.path:
            return self.server.sessions.begin(self.path, body)
        headers = {
            key: value for key, value in self.headers.items() if key.lower() not in {"connection", "host"}
        }
        return self._forwarded(self.command, self.path, headers, body)

    def _forwarded(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        self._upstream.request(method, path, body or None, headers)
        response = self._upstream.getresponse()
        answer = response.read()
        dropped = {"content-length", "transfer-encoding", "connection"}
        kept = [(key, value) for key, value in response.getheaders() if key.lower() not in dropped]
        return response.status, kept, answer

    def _answer(
        self, status: int, headers: list[tuple[str, str]], claimed: bytes | None, sent: bytes
    ) -> None:
        self.send_response_only(status)
        for key, value in headers:
            self.send_header(key, value)
        if claimed is not None:
            self.send_header("Content-Length", str(len(claimed)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(sent)

    def _refuse(self, status: int) -> None:
        after = [("Retry-After", "0")] if status in {429, 503} else []
        self._answer(status, [("Content-Type", "text/plain"), *after], b"refused", b"refused")

    def _reset(self) -> None:
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


for _method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler.handle_request)


@contextmanager
def running(target: str) -> Iterator[FaultProxy]:
    """A proxy before `target`, on a free port of the loopback interface."""
    with FaultProxy(target) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
