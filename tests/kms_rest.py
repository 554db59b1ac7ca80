"""Encrypt and Decrypt over plain HTTP and JSON, as gcloud calls them, before a KMS that speaks gRPC alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from google.cloud.kms_v1 import types

from sandbox import http
from tests.kms_process import KmsProcess
from tests.serving import answering

REQUESTS: dict[str, Any] = {"encrypt": types.EncryptRequest, "decrypt": types.DecryptRequest}


@contextmanager
def served(kms: KmsProcess, email: str) -> Iterator[str]:
    """Hand calls on to `kms` as `email` while inside; yields the address."""
    client = kms.client(email)

    class Handler(http.Handler):
        def do_POST(self) -> None:
            name, _, verb = unquote(urlsplit(self.path).path).removeprefix("/v1/").rpartition(":")
            request = REQUESTS[verb].from_json(self.body())
            request.name = name
            answer = getattr(client, verb)(request=request)
            self.answer(200, type(answer).to_json(answer))

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}/"
