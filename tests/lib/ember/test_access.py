"""Tokens: when a new one is taken, and that one is enough for all who were refused together."""

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, cast

import pytest

from tasks.lib.ember.access import Access, access
from tasks.lib.ember.answers import ask
from tasks.lib.ember.http import Job, Pool, Request, Steps
from tasks.lib.errors import UsageError
from tasks.lib.google.credentials import Tokens
from tests.builders import checked_in_settings
from tests.serving import answering

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

AT_ONCE = 8


def test_missing_ca_file_is_named_before_any_request() -> None:
    settings = checked_in_settings(google={"ca_file": "gone.pem"})

    with pytest.raises(
        UsageError, match="The certificate authorities for Cloud Storage cannot be read"
    ) as caught:
        access(settings, settings.environment("staging"))
    assert caught.value.next_step == "Check google.ca_file."


class Numbered:
    """Credentials whose tokens are numbered."""

    valid = True

    def __init__(self) -> None:
        self.taken = 0

    @property
    def token(self) -> str:
        return f"token-{self.taken}"

    def refresh(self, _request: object) -> None:
        self.taken += 1


class Revoking(BaseHTTPRequestHandler):
    """Refuses the first token, once as many have come with it as may be on their way."""

    protocol_version = "HTTP/1.1"
    together = threading.Barrier(AT_ONCE, timeout=120)

    def do_GET(self) -> None:
        refused = self.headers["Authorization"] == "Bearer token-0"
        if refused:
            self.together.wait()
        self.send_response_only(401 if refused else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Nothing is logged."""


@pytest.fixture
def revoking(access: Access) -> Iterator[Access]:
    """The way to a server that does not accept the token any more that this process has."""
    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Revoking)) as server:
        endpoint = f"http://127.0.0.1:{server.server_port}"
        yield dataclasses.replace(access, endpoint=endpoint, tokens=Tokens(cast("Credentials", Numbered())))


def test_refused_token_is_renewed_once_for_all_requests(revoking: Access) -> None:
    def steps() -> Steps[int]:
        response = yield from ask(revoking, Request("GET", revoking.objects_url()))
        return response.status

    with closing(Pool(revoking, AT_ONCE)) as pool:
        assert pool.run(Job(steps()) for _ in range(AT_ONCE)) == [200] * AT_ONCE
    assert cast("Numbered", revoking.tokens.credentials).taken == 1
