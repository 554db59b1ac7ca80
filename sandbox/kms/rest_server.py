"""Encrypt and Decrypt over plain HTTP and JSON: what `gcloud kms encrypt` and `gcloud kms decrypt` call.

Plain, because gcloud does not trust the sandbox's authority; it listens on loopback only.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

from google.cloud.kms_v1 import types
from google.protobuf import json_format

from sandbox.kms.refusals import Refusal, invalid
from sandbox.kms.service import Service

HTTP_STATUS = {
    "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 429, "CANCELLED": 499, "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}  # fmt: skip
REQUESTS: dict[str, Any] = {"encrypt": types.EncryptRequest, "decrypt": types.DecryptRequest}


def serve(service: Service, port: int) -> int:
    """Start to listen on loopback, in a thread of its own; returns the port."""
    handler = type("Handler", (_Handler,), {"service": service})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    service: Service
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits until its header is acknowledged: 40 ms

    def do_POST(self) -> None:
        """Answer a call."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            verb, request = _request(self.path, body)
            answer = self.service.call(verb.title(), request, headers, lambda: True)
            self._send(200, type(answer).to_json(answer))
        except Refusal as refusal:
            self._send(HTTP_STATUS.get(refusal.code, 500), _error(refusal))

    def _send(self, status: int, text: str) -> None:
        payload = text.encode()
        self.send_response(status)
        self.send_header("content-type", "application/json; charset=UTF-8")
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: Any) -> None:
        """Say nothing: the service keeps its own log."""


def _request(url: str, body: bytes) -> tuple[str, Any]:
    """The verb and the message of a request."""
    name, _, verb = unquote(urlsplit(url).path).removeprefix("/v1/").rpartition(":")
    if verb not in REQUESTS:
        raise Refusal("NOT_FOUND", f"Method not found: {url}.")
    try:
        request = REQUESTS[verb].from_json(body)
    except json_format.ParseError as error:
        raise invalid(f"Invalid JSON payload received. {error}") from error
    request.name = name
    return verb, request


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
