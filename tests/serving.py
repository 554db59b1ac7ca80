"""Running an HTTP server inside a test."""

import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any


@contextmanager
def answering(server: ThreadingHTTPServer) -> Iterator[ThreadingHTTPServer]:
    """Let `server` answer in a thread of its own until the block ends, however it ends.

    A client that hangs up, as after its time limit, is no error, whatever TLS calls it; the server would print
    its traceback into what the test captures.
    """
    told = server.handle_error

    def handle_error(request: Any, address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError | ssl.SSLEOFError):
            told(request, address)

    server.handle_error = handle_error  # type: ignore[method-assign,assignment]
    # It sees that it has to end when it next looks up: hundreds of tests wait for that.
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
