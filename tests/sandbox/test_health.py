"""What is said of a component that is asked whether it is well."""

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sandbox import health
from sandbox.components import Probe
from tests.serving import answering


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def served() -> Iterator[str]:
    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def closed() -> Iterator[int]:
    """A port that nobody listens on, nor can meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


def test_no_proxy_is_asked_whether_a_server_is_well(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    assert health.check(Probe(f"{served}/200")) == ""


@pytest.mark.parametrize(("path", "fault"), [("200", ""), ("503", "answers 503"), ("404", "answers 404")])
def test_a_server_is_well_when_it_says_so(served: str, path: str, fault: str) -> None:
    assert health.check(Probe(f"{served}/{path}")) == fault


def test_a_port_is_well_when_somebody_listens(served: str) -> None:
    assert health.check(Probe(served.replace("http:", "tcp:"))) == ""


@pytest.mark.parametrize("scheme", ["tcp", "http"])
def test_a_server_that_is_not_there_refuses(closed: int, scheme: str) -> None:
    assert health.check(Probe(f"{scheme}://127.0.0.1:{closed}")) == "[Errno 111] Connection refused"


def test_a_server_that_never_answers_is_not_waited_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        probe = Probe(f"http://127.0.0.1:{silent.getsockname()[1]}")

        assert health.check(probe, time_limit=0.05) == "timed out"


def test_a_missing_certificate_authority_is_a_fault_of_the_component() -> None:
    fault = health.check(Probe("https://127.0.0.1:1", ca_file="/nonexistent"))

    assert fault == "[Errno 2] No such file or directory"
