"""Encrypt and Decrypt over plain HTTP and JSON: what `gcloud kms encrypt` and `gcloud kms decrypt` call.

Plain, because gcloud does not trust the sandbox's authority; it listens on loopback only.
"""

import json
from http.server import ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

from google.cloud.kms_v1 import types
from google.protobuf import json_format

from sandbox import http
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


class _Handler(http.Handler):
    service: Service

    def do_POST(self) -> None:
        """Answer a call."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            verb, request = _request(self.path, self.body())
            answer = self.service.call(verb.title(), request, headers, lambda: True)
            self.answer(200, type(answer).to_json(answer))
        except Refusal as refusal:
            self.answer(HTTP_STATUS.get(refusal.code, 500), _error(refusal))

    def log_message(self, *_: object) -> None:
        """Say nothing: the service keeps an audit log."""


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
