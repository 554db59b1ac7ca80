"""google-auth's calls over the standard library, against a real server."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from google.auth.exceptions import TransportError

from tasks.lib.tokens import Request
from tests.kms_process import write_certificate
from tests.serving import answering


class Echo(BaseHTTPRequestHandler):
    end: threading.Event

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/hang":
            self.end.wait()
        self.send_response(400 if self.path == "/refuse" else 200)
        self.send_header("Metadata-Flavor", "Google")
        self.end_headers()
        self.wfile.write(f"{self.path} {self.headers['x-asked']} ".encode() + body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    end = threading.Event()
    with answering(ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Echo,), {"end": end}))) as server:
        yield server
        end.set()


def address(server: ThreadingHTTPServer, path: str, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{server.server_port}{path}"


@pytest.mark.parametrize(("path", "status"), [("/token", 200), ("/refuse", 400)], ids=["granted", "refused"])
def test_an_answer_is_an_answer_whatever_its_status(
    server: ThreadingHTTPServer, path: str, status: int
) -> None:
    answer = Request()(address(server, path), method="POST", body=b"grant", headers={"x-asked": "yes"})

    assert (answer.status, answer.data) == (status, f"{path} yes grant".encode())
    assert answer.headers["metadata-flavor"] == "Google"


@pytest.mark.parametrize("limit", ["the call's", "one's own"])
def test_a_server_that_hangs_is_given_up(server: ThreadingHTTPServer, limit: str) -> None:
    of_call = 0.1 if limit == "the call's" else None
    with pytest.raises(TransportError, match="timed out"):
        Request(0.1)(address(server, "/hang"), method="POST", body=b"", timeout=of_call)


def test_no_server_is_no_answer() -> None:
    with pytest.raises(TransportError, match=r"127\.0\.0\.1:9.*refused"):
        Request()("http://127.0.0.1:9/token")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_only_the_web_is_asked(url: str) -> None:
    with pytest.raises(TransportError, match="no address of a token service"):
        Request()(url)


@pytest.mark.parametrize("variable", ["", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_a_server_has_to_prove_who_it_is_to_the_authorities_that_are_named(
    server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    certificate, key = write_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, str(certificate))
        assert Request()(address(server, "/token", "https"), method="POST", body=b"x").status == 200
    else:
        with pytest.raises(TransportError, match="CERTIFICATE_VERIFY_FAILED"):
            Request()(address(server, "/token", "https"), method="POST", body=b"x")


def test_a_proxy_of_the_environment_is_used(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", address(server, ""))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    answer = Request()("http://tokens.example.org/token", method="POST", body=b"")

    assert answer.data.startswith(b"http://tokens.example.org/token ")
