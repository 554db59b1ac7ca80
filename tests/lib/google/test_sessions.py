"""Sessions for Google's APIs, against real servers on the loopback interface."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from google.auth.credentials import CredentialsWithQuotaProject
from google.auth.exceptions import RefreshError, TransportError

from tasks.lib.errors import Failure
from tasks.lib.google.credentials import Tokens
from tasks.lib.google.sessions import session_of
from tests.serving import answering


class Echo(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "/")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        told = (self.headers.get("authorization", "-"), self.headers.get("x-goog-user-project", "-"))
        self.wfile.write(" ".join(told).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Counting(CredentialsWithQuotaProject):
    """Credentials that count how often a token was fetched, or can not fetch one."""

    def __init__(self, fault: Exception | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.fault, self.fetched = fault, 0

    def refresh(self, request: object) -> None:
        if self.fault:
            raise self.fault
        self.fetched += 1
        self.token = f"token-{self.fetched}"

    def before_request(self, *_: object) -> None:
        raise AssertionError("this would ask Google, in a thread, where the account may be used from")


@pytest.fixture
def url() -> Iterator[str]:
    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Echo)) as server:
        yield f"http://127.0.0.1:{server.server_port}/"


def test_all_requests_share_a_token_and_the_quota_project(url: str) -> None:
    found = Counting()
    found._quota_project_id = "payer"
    session = session_of(Tokens(found))

    assert [session.get(url, timeout=60).text for _ in range(2)] == ["Bearer token-1 payer"] * 2
    assert found.fetched == 1


@pytest.mark.parametrize(
    ("fault", "what", "why"),
    [
        (RefreshError("invalid_grant: Bad Request", {}), "Google does not accept your credentials.", "invalid_grant"),
        (TransportError("refused"), "Google's token service does not answer.", "refused"),
    ],
    ids=["refused", "not reached"],
)  # fmt: skip
def test_no_request_is_sent_without_a_token(url: str, fault: Exception, what: str, why: str) -> None:
    with pytest.raises(Failure) as caught:
        session_of(Tokens(Counting(fault))).get(url, timeout=60)

    assert caught.value.what == what
    assert why in caught.value.why


def test_a_redirect_is_not_followed(url: str) -> None:
    answer = session_of(Tokens(Counting())).get(f"{url}elsewhere", timeout=60)

    assert (answer.status_code, answer.text) == (302, "")
