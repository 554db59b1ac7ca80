"""The service over plain HTTP and JSON, transcoded as Google's front ends do it: what gcloud speaks.

Plain, because gcloud trusts no authority of the sandbox's; it listens on loopback only.
"""

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from google.protobuf import json_format

from sandbox.kms.catalogue import RPCS, Rpc
from sandbox.kms.refusals import Refusal, invalid
from sandbox.kms.service import Service

HTTP_STATUS = {
    "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404, "ALREADY_EXISTS": 409, "RESOURCE_EXHAUSTED": 429, "CANCELLED": 499,
    "UNIMPLEMENTED": 501, "UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504,
}  # fmt: skip
PREFIX = "/v1/"


def serve(service: Service, port: int) -> tuple[ThreadingHTTPServer, int]:
    """Start to listen on loopback, in a thread of its own.

    Returns:
        The running server and its port.

    """
    handler = type("Handler", (_Handler,), {"service": service})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return server, server.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    service: Service
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits until its header is acknowledged: 40 ms

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            name, request = _request(self.command, self.path, body)
            message = self.service.call(name, request, headers, lambda: True)
            self._send(200, RPCS[name].response.to_json(message, use_integers_for_enums=False))
        except Refusal as refusal:
            self._send(HTTP_STATUS.get(refusal.code, 500), _error(refusal))

    do_GET = do_POST = do_PATCH = _answer  # noqa: N815 - http.server's own names

    def _send(self, status: int, text: str) -> None:
        payload = text.encode()
        self.send_response(status)
        self.send_header("content-type", "application/json; charset=UTF-8")
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: Any) -> None:
        """Say nothing: the service keeps its own log."""


def _request(method: str, url: str, body: bytes) -> tuple[str, Any]:
    """Find the RPC that an HTTP request means, and build its message."""
    parts = urlsplit(url)
    path = unquote(parts.path).removeprefix(PREFIX)
    for name, rpc in RPCS.items():
        if rpc.rest[0] == method and (resource := _resource(rpc, path)):
            return name, _message(rpc, resource, parse_qs(parts.query), body)
    raise Refusal("NOT_FOUND", f"Method not found: {method} {path}.")


def _resource(rpc: Rpc, path: str) -> str:
    """The resource's name in `path`, if the RPC's own path fits; else nothing."""
    before, after = rpc.rest[1].split("{}")
    for pattern in rpc.patterns:
        if match := re.fullmatch(f"{before}({pattern}){re.escape(after)}", path):
            return match[1]
    return ""


def _message(rpc: Rpc, resource: str, query: dict[str, list[str]], body: bytes) -> Any:
    """The request's message from path, query and body."""
    values: dict[str, Any] = {
        name: values[0] for name, values in query.items() if name not in {"alt", "key", "$alt", "prettyPrint"}
    }
    content = json.loads(body) if body.strip() else {}
    if rpc.body == "*":
        values |= content
    elif rpc.body:
        values[rpc.body] = content
    target = values
    *outer, last = rpc.resource.split(".")
    for part in outer:
        target = target.setdefault(part, {})
    target[last] = resource
    try:
        return rpc.request.from_json(json.dumps(values))
    except json_format.ParseError as error:
        raise invalid(f"Invalid JSON payload received. {error}") from error


def _error(refusal: Refusal) -> str:
    error: dict[str, Any] = {
        "code": HTTP_STATUS.get(refusal.code, 500), "message": refusal.message, "status": refusal.code,
    }  # fmt: skip
    if refusal.reason:
        error["details"] = [{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": refusal.reason,
            "domain": "cloudkms.googleapis.com", "metadata": dict(refusal.metadata),
        }]  # fmt: skip
    return json.dumps({"error": error})
