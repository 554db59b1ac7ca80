"""The sandbox's Google APIs served by this process, and credentials for them."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

from sandbox.cloud import accounts
from sandbox.cloud.server import Handler
from tests.private_key import private_key
from tests.serving import answering


@contextmanager
def served(google: Path) -> Iterator[str]:
    """The address at which the folder `google` is answered from."""

    class Own(Handler):
        pass

    Own.google = google
    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Own)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


def account(google: Path, name: str, token_uri: str, permissions: Iterable[str]) -> Path:
    """A service account of the project `p` and its key file; its key is that of its name in every test."""
    content = {"client_email": accounts.email_of(name, "p"), "private_key": private_key(name)}
    (google / f"{name}.json").write_text(json.dumps({"type": "service_account", **content}))
    return accounts.create(google, name, "p", token_uri, permissions)


def key_file(google: Path, url: str, name: str, permissions: tuple[str, ...]) -> str:
    """The key file of a service account with these permissions, whose tokens come from `url`."""
    path = account(google, name, f"{url}/token", permissions)
    assert json.loads(path.read_text())["token_uri"] == f"{url}/token"
    return str(path)
