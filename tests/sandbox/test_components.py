"""What a component's probe says about it."""

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

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


def test_no_proxy_is_asked_whether_a_server_is_healthy(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    assert Probe(f"{served}/200").problem() == ""


@pytest.mark.parametrize(("path", "problem"), [("200", ""), ("503", "answers 503"), ("404", "answers 404")])
def test_a_server_is_healthy_when_it_says_so(served: str, path: str, problem: str) -> None:
    assert Probe(f"{served}/{path}").problem() == problem


def test_a_port_is_healthy_when_somebody_listens(served: str) -> None:
    assert Probe(served.replace("http:", "tcp:")).problem() == ""


@pytest.mark.parametrize("scheme", ["tcp", "http"])
def test_a_server_that_is_not_there_refuses(closed: int, scheme: str) -> None:
    assert Probe(f"{scheme}://127.0.0.1:{closed}").problem() == "[Errno 111] Connection refused"


def test_a_server_that_never_answers_is_not_waited_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        probe = Probe(f"http://127.0.0.1:{silent.getsockname()[1]}")

        assert probe.problem(time_limit=0.05) == "timed out"


def test_a_missing_certificate_authority_is_a_problem_of_the_component() -> None:
    problem = Probe("https://127.0.0.1:1", ca_file="/nonexistent").problem()

    assert problem == "[Errno 2] No such file or directory"
