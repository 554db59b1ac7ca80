"""The real Cloud SQL Auth Proxy against the sandbox's Google side and the door of its database."""

import asyncio
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError

import pytest

from sandbox import binaries, certificates
from sandbox.cloud import sql, sql_connect
from sandbox.containers import namespaces, programs
from sandbox.containers.place import Forward
from tests import google_side
from tests.ports import free_port
from tests.real_node import TIME_LIMIT

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600), pytest.mark.xdist_group("cloud_sql_proxy")]

INSTANCE = ("mit-lookit", "staging")
# Of this machine, and of no other test run on it: the port is always the same.
ADDRESS = str(ipaddress.IPv4Address("127.64.0.0") + os.getpid() % 2**22)
RIGHTS = ("cloudsql.instances.connect", "cloudsql.instances.get")


@pytest.fixture(scope="module")
def program() -> Path:
    return binaries.obtain(programs.PROXY, binaries.cache_folder(), [programs.proxy()])["cloud-sql-proxy"]


@pytest.fixture
def google(tmp_path: Path) -> Path:
    """Google's side, where the instance is at port 3307 of ADDRESS."""
    sql.register(tmp_path, *INSTANCE)
    sql_connect.place(tmp_path, *INSTANCE, "us-east1", ADDRESS)
    return tmp_path


@pytest.fixture
def door(google: Path) -> Iterator[None]:
    """Port 3307 in front of a database that sends back what it gets."""
    database = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_echo, args=(database,), daemon=True).start()
    front = sql_connect.front(google, *INSTANCE)
    own = (str(front.server.certificate), str(front.server.key), str(front.clients.certificate))
    forward = Forward(ADDRESS, sql_connect.PORT, database.getsockname()[1], *own)
    loop = asyncio.new_event_loop()
    listener = socket.create_server((forward.address, forward.port))
    server = loop.run_until_complete(namespaces.forwarding(forward, listener))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    database.close()


def _echo(database: socket.socket) -> None:
    with suppress(OSError):
        while True:
            client, _ = database.accept()
            with client:
                client.sendall(client.recv(100))


@pytest.fixture
def start(program: Path, google: Path, tmp_path: Path) -> Iterator[Callable[..., "Started"]]:
    with google_side.served(google) as url:
        running: list[Started] = []

        def begin(rights: tuple[str, ...] = RIGHTS, instance: str = "mit-lookit:us-east1:staging") -> Started:
            key = google_side.key_file(google, url, "client", rights)
            running.append(Started(program, url, key, instance, tmp_path))
            return running[-1]

        yield begin
        for one in running:
            one.process.kill()
            one.process.wait()


class Started:
    """The program with what the manifests give it, and the sandbox's address in place of Google's."""

    def __init__(self, program: Path, url: str, key: str, instance: str, folder: Path) -> None:
        self.port, self.health, self.log = free_port(), free_port(), folder / "log"
        options = [
            "--address=127.0.0.1",
            f"--port={self.port}",
            f"--credentials-file={key}",
            "--health-check",
            f"--http-port={self.health}",
            "--structured-logs",
            "--run-connection-test",
            "--enable-builtin-metrics=false",
            "--exit-zero-on-sigterm",
            f"--sqladmin-api-endpoint={url}",
        ]
        self.process = subprocess.Popen(
            [program, *options, instance], stdout=self.log.open("wb"), stderr=subprocess.STDOUT
        )

    def answers(self, path: str) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.health}{path}", timeout=TIME_LIMIT).close()
        except (URLError, OSError):
            return False
        return True

    def is_started(self) -> bool:
        deadline = time.monotonic() + TIME_LIMIT
        while self.process.poll() is None and time.monotonic() < deadline:
            if self.answers("/startup"):
                return True
            time.sleep(0.2)
        return False

    def said(self) -> str:
        return " ".join(str(json.loads(line).get("message")) for line in self.log.read_text().splitlines())


@pytest.mark.usefixtures("door")
def test_a_client_reaches_the_database_through_the_proxy(start: Callable[..., Started]) -> None:
    proxy = start()
    assert proxy.is_started(), proxy.log.read_text()

    with socket.create_connection(("127.0.0.1", proxy.port), TIME_LIMIT) as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"

    assert proxy.answers("/readiness")
    proxy.process.terminate()
    assert proxy.process.wait(TIME_LIMIT) == 0


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("missing", RIGHTS)
def test_an_account_without_a_permission_is_refused(start: Callable[..., Started], missing: str) -> None:
    proxy = start(tuple(right for right in RIGHTS if right != missing))

    assert not proxy.is_started()
    assert f'Required "{missing}" permission(s)' in proxy.said()


@pytest.mark.usefixtures("door")
def test_an_instance_that_is_not_there_is_named(start: Callable[..., Started]) -> None:
    proxy = start(instance="mit-lookit:us-east1:nowhere")

    assert not proxy.is_started()
    assert "The Cloud SQL instance does not exist." in proxy.said()


def heard(google: Path, certificate: Path | None, key: Path | None) -> bytes:
    """What comes back from the door for a client with this certificate, or none."""
    context = ssl.create_default_context(
        cafile=str(sql_connect.front(google, *INSTANCE).authority.certificate)
    )
    context.check_hostname = False
    if certificate:
        context.load_cert_chain(certificate, key)
    with (
        suppress(ssl.SSLError, ConnectionError),
        socket.create_connection((ADDRESS, sql_connect.PORT), TIME_LIMIT) as plain,
    ):
        client = context.wrap_socket(plain)
        client.sendall(b"hello")
        return client.recv(100)
    return b""


@pytest.mark.usefixtures("door")
def test_only_a_client_with_the_instances_certificate_gets_through(google: Path) -> None:
    clients = sql_connect.front(google, *INSTANCE).clients
    known = certificates.issue(clients, "client", "client")
    stranger = certificates.issue(certificates.authority(google / "strangers", "x"), "client", "client")

    assert heard(google, known.certificate, known.key) == b"hello"
    assert heard(google, stranger.certificate, stranger.key) == b""
    assert heard(google, None, None) == b""
