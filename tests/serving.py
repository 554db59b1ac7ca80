"""Running an HTTP server inside a test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer


@contextmanager
def answering(server: ThreadingHTTPServer) -> Iterator[ThreadingHTTPServer]:
    """Let `server` answer in a thread of its own until the block ends, however it ends."""
    # It sees that it has to end when it next looks up: hundreds of tests wait for that.
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
