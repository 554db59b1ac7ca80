"""The sandbox's Google APIs served by this process, and credentials for them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

from tasks.lib.sandbox.cloud import accounts
from tasks.lib.sandbox.cloud.server import Handler


@contextmanager
def served(google: Path) -> Iterator[str]:
    """The address at which the folder `google` is answered from."""

    class Own(Handler):
        pass

    Own.google = google
    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def key_file(google: Path, url: str, name: str, permissions: tuple[str, ...]) -> str:
    """The key file of a service account with these permissions, whose tokens come from `url`."""
    path = accounts.create(google, name, "p", f"{url}/token", permissions)
    assert json.loads(path.read_text())["token_uri"] == f"{url}/token"
    return str(path)
