"""A proxy between a task and the sandbox's API server that can be told to misbehave as real networks do.

It speaks TLS with the cluster's own certificate, so a task cannot tell it from the API server; the GKE API of the
sandbox leads a test there (`Case.behind`).
"""

import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FORWARDED_FOR = 60.0
WATCH = r"GET .*[?&]watch=(true|1)"


@dataclass
class Fault:
    """One way to misbehave, for requests whose `METHOD path?query` contains the pattern.

    Args:
        pattern: a regular expression; WATCH matches all watches.
        times: how often; then requests pass again.
        latency: seconds to wait before anything else.
        status: answer this instead of asking the API server (with the Status object that Kubernetes sends).
        retry_after: seconds in the Retry-After header of that answer.
        drop: close the connection without an answer.
        gone: answer a watch with the event that says its resource version is too old (410).
        cut_after: let an answer through, and close the connection after so many seconds.
        applied: with `drop`: ask the API server first, so that the request took effect and its answer is lost.

    """

    pattern: str = ""
    times: int = 1
    latency: float = 0.0
    status: int = 0
    retry_after: int = 0
    drop: bool = False
    gone: bool = False
    cut_after: float = 0.0
    applied: bool = False
    hits: int = field(default=0, init=False)


class FaultProxy:
    """A running proxy: where it listens, what it does wrong, and what passed through it."""

    def __init__(self, upstream: tuple[str, int], certificates: Path) -> None:
        self.upstream = upstream
        self.certificates = certificates
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self._lock = threading.Lock()
        self._server = _serve(self, certificates)

    @property
    def endpoint(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def add(self, **values: Any) -> Fault:
        """Put a fault in force; returns it, its `hits` count how often it struck."""
        fault = Fault(**values)
        with self._lock:
            self.faults.append(fault)
        return fault

    def clear(self) -> None:
        """Behave again."""
        with self._lock:
            self.faults.clear()

    def fault_for(self, request: str) -> Fault:
        """The first fault in force for this request, counted; a harmless one when there is none."""
        with self._lock:
            self.requests.append(request)
            for fault in self.faults:
                if fault.hits < fault.times and re.search(fault.pattern, request):
                    fault.hits += 1
                    return fault
        return Fault()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def in_front_of(port: int, certificates: Path) -> Iterator[FaultProxy]:
    """A proxy before the API server at `port`, with the certificates in that cluster's folder."""
    proxy = FaultProxy(("127.0.0.1", port), certificates)
    try:
        yield proxy
    finally:
        proxy.close()


def _serve(proxy: FaultProxy, certificates: Path) -> ThreadingHTTPServer:
    handler = type("Bound", (_Handler,), {"proxy": proxy})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    server = _Server(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no news here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultProxy

    def _handle(self) -> None:
        fault = self.proxy.fault_for(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        time.sleep(fault.latency)
        if fault.status:
            self._refuse(fault)
        elif fault.gone:
            self._send_gone()
        elif fault.drop:
            if fault.applied:
                self._ask(body)[1].close()
            self._hang_up()
        else:
            self._forward(body, fault.cut_after)

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Every method of HTTP is handled alike."""
        if name.startswith("do_"):
            return self._handle
        raise AttributeError(name)

    def _ask(self, body: bytes) -> tuple[http.client.HTTPResponse, http.client.HTTPSConnection]:
        context = ssl.create_default_context(cafile=self.proxy.certificates / "ca.crt")
        connection = http.client.HTTPSConnection(*self.proxy.upstream, timeout=FORWARDED_FOR, context=context)
        headers = {key: value for key, value in self.headers.items() if key.lower() != "connection"}
        connection.request(self.command, self.path, body=body or None, headers=headers)
        return connection.getresponse(), connection

    def _forward(self, body: bytes, cut_after: float) -> None:
        try:
            answer, connection = self._ask(body)
        except OSError:
            self._hang_up()
            return
        with suppress(OSError):
            self._pass_on(answer, time.monotonic() + cut_after if cut_after else None, connection)
        connection.close()

    def _pass_on(
        self,
        answer: http.client.HTTPResponse,
        deadline: float | None,
        connection: http.client.HTTPSConnection,
    ) -> None:
        self.send_response(answer.status)
        for key, value in answer.headers.items():
            if key.lower() not in {"transfer-encoding", "content-length", "connection", "date"}:
                self.send_header(key, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while data := self._next(answer, deadline, connection):
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()
        if deadline is None:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self._hang_up()

    def _next(
        self,
        answer: http.client.HTTPResponse,
        deadline: float | None,
        connection: http.client.HTTPSConnection,
    ) -> bytes:
        """The next piece of an answer; nothing at its end, or at the deadline."""
        if deadline is None:
            return answer.read1(65536)
        left = deadline - time.monotonic()
        if left <= 0:
            return b""
        if connection.sock:
            connection.sock.settimeout(left)
        try:
            return answer.read1(65536)
        except TimeoutError:
            return b""

    def _refuse(self, fault: Fault) -> None:
        reasons = {429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout"}
        data = json.dumps({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": fault.status,
            "reason": reasons.get(fault.status, "Unknown"), "message": "injected by the test",
        }).encode()  # fmt: skip
        self.send_response(fault.status)
        if fault.retry_after:
            self.send_header("Retry-After", str(fault.retry_after))
        self._finish(data)

    def _send_gone(self) -> None:
        status = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410,
            "reason": "Expired", "message": "too old resource version: 1 (2)",
        }  # fmt: skip
        self.send_response(200)
        self._finish(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")

    def _finish(self, data: bytes) -> None:
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
