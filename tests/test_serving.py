"""A server inside a test."""

import socket
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.serving import answering


@pytest.mark.parametrize(
    ("error", "printed"), [(BrokenPipeError, False), (ssl.SSLEOFError, False), (ValueError, True)]
)
def test_only_a_hang_up_is_no_error(
    capsys: pytest.CaptureFixture[str], error: type[Exception], printed: bool
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def handle(self) -> None:
            raise error

    # It waits for its handlers at its end.
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    with answering(server), socket.create_connection(("127.0.0.1", server.server_port)) as connection:
        assert connection.recv(1) == b""
    assert ("Traceback" in capsys.readouterr().err) == printed
