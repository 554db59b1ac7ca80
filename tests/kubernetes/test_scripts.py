"""The scripts inside the manifests, run: what starts RabbitMQ, what checks it and what waits."""

import base64
import json
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.kubernetes.rendering import Tree
from tests.serving import answering

HOME = "/opt/bitnami/rabbitmq"
# Everything that a shell, sed, curl or a URL could trip over.
PASSWORD = r"""p\a\\s$s&"w'o/r d#%"""


def program(folder: Path, name: str, script: str) -> None:
    """Put a program on the test's PATH."""
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def run(argv: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run with the test's programs in front of PATH, and no other variable."""
    return subprocess.run(
        argv,
        env={"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.fixture
def home(staging: Tree, tmp_path: Path) -> Path:
    """RabbitMQ's home as the pod finds it: a data volume and mounted configuration."""
    home = tmp_path / "home"
    (home / "var/lib/rabbitmq").mkdir(parents=True)
    (home / "conf").mkdir()
    for name, text in staging.get("ConfigMap", "lookit-rabbitmq-config")["data"].items():
        (home / "conf" / name).write_text(text)
    return home


@pytest.fixture
def checks(staging: Tree, home: Path, tmp_path: Path) -> Path:
    """The health scripts, on the PATH as in the pod."""
    for name, text in staging.get("ConfigMap", "lookit-rabbitmq-healthchecks")["data"].items():
        program(tmp_path / "bin", name, text.replace(HOME, str(home)))
    return tmp_path


def start(staging: Tree, home: Path, folder: Path, files: str = "512") -> subprocess.CompletedProcess[str]:
    program(folder / "bin", "rabbitmq-server", 'echo "server, $(ulimit -n) files"')
    bash, options, script = staging.container("StatefulSet", "lookit-rabbitmq", "rabbitmq")["command"]
    return run(
        [bash, options, script.replace(HOME, str(home))],
        folder,
        RABBITMQ_ERL_COOKIE="COOKIE VALUE",
        RABBITMQ_PASSWORD=PASSWORD,
        RABBITMQ_ULIMIT_NOFILES=files,
    )


def test_start_becomes_the_server_with_its_file_limit(staging: Tree, home: Path, tmp_path: Path) -> None:
    done = start(staging, home, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "server, 512 files\n", "")


def test_start_takes_what_a_node_allows_of_open_files(staging: Tree, home: Path, tmp_path: Path) -> None:
    more_than_the_kernel_allows = str(int(Path("/proc/sys/fs/nr_open").read_text()) + 1)
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    done = start(staging, home, tmp_path, files=more_than_the_kernel_allows)

    assert (done.returncode, done.stdout) == (0, f"server, {allowed} files\n")
    assert f"Open files: {allowed}, the most that this node allows.\n" in done.stderr


def test_only_server_and_tools_can_read_the_cookie(staging: Tree, home: Path, tmp_path: Path) -> None:
    start(staging, home, tmp_path)
    for cookie in (home / "var/lib/rabbitmq/.erlang.cookie", home / ".rabbitmq/.erlang.cookie"):
        assert cookie.read_text() == "COOKIE VALUE\n"
        assert cookie.stat().st_mode & 0o777 == 0o600


def test_start_has_the_password_imported_at_each_start(staging: Tree, home: Path, tmp_path: Path) -> None:
    start(staging, home, tmp_path)
    definitions = home / "etc/rabbitmq/definitions.json"
    assert definitions.stat().st_mode & 0o777 == 0o600
    # Where RabbitMQ imports them before it looks whether the volume is empty, they have to be complete.
    assert json.loads(definitions.read_text()) == {
        "users": [{"name": "admin", "password": PASSWORD, "tags": "administrator"}],
        "vhosts": [{"name": "/"}],
        "permissions": [{"user": "admin", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
    }
    assert (
        f"management.load_definitions = {HOME}/etc/rabbitmq/definitions.json\n"
        in (home / "conf/rabbitmq.conf").read_text()
    )


def test_until_then_nobody_knows_the_password(staging: Tree, home: Path, tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        start(staging, home, tmp_path)
        found += re.findall(
            r"(?m)^default_pass = (\w{32})$", (home / "etc/rabbitmq/rabbitmq.conf").read_text()
        )
    assert len(set(found)) == 2
    assert (home / "etc/rabbitmq/enabled_plugins").exists()


def test_start_can_run_again_on_the_same_volume(staging: Tree, home: Path, tmp_path: Path) -> None:
    assert [start(staging, home, tmp_path).returncode for _ in range(2)] == [0, 0]
    assert (home / "var/lib/rabbitmq/.start").read_text() == ""


def test_start_stops_at_the_first_error(staging: Tree, home: Path, tmp_path: Path) -> None:
    shutil.rmtree(home / "conf")
    done = start(staging, home, tmp_path)
    assert done.returncode != 0
    assert "server" not in done.stdout


def health(folder: Path, *, healthy: bool, running: bool) -> subprocess.CompletedProcess[str]:
    """Ask rabbitmq-health-check about a node that answers rabbitmqctl so."""
    program(
        folder / "bin",
        "rabbitmqctl",
        f"case $1 in node_health_check) exit {0 if healthy else 1};; status) exit {0 if running else 69};; esac",
    )
    program(folder / "bin", "rabbitmq-api-check", 'echo "asked $1 for $2"; exit 3')
    return run(["rabbitmq-health-check", "http://node/api/healthchecks/node", "fine"], folder)


HEALTH = "asked http://node/api/healthchecks/node for fine\n"
LOGIN = 'asked http://node/api/whoami for {"name":"admin","tags":"administrator"}\n'


@pytest.mark.parametrize(
    ("healthy", "running", "code", "asked", "marker_stays"),
    [
        pytest.param(True, True, 3, HEALTH, False, id="a healthy node has started if the password fits"),
        pytest.param(False, True, 3, LOGIN, True, id="a node under an alarm if admin may log in"),
        pytest.param(False, False, 69, "", True, id="a node that does not run has not started"),
    ],
)
def test_health_check_while_starting(
    checks: Path, home: Path, healthy: bool, running: bool, code: int, asked: str, marker_stays: bool
) -> None:
    marker = home / "var/lib/rabbitmq/.start"
    marker.touch()
    done = health(checks, healthy=healthy, running=running)
    assert (done.returncode, done.stdout) == (code, asked)
    assert marker.exists() is marker_stays


def test_health_check_asks_the_api_once_the_node_has_started(checks: Path) -> None:
    done = health(checks, healthy=False, running=False)
    assert (done.returncode, done.stdout) == (3, HEALTH)


@pytest.fixture
def management() -> Iterator[str]:
    """A management API that knows admin's password."""

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            expected = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
            known = self.headers.get("Authorization") == f"Basic {expected}"
            self.send_response(200 if known else 401)
            self.end_headers()
            self.wfile.write(b'{"status":"ok"}' if known else b'{"error":"not_authorised"}')

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Keep quiet."""

    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Api)) as server:
        yield f"http://127.0.0.1:{server.server_port}/api/healthchecks/node"


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed; RabbitMQ's image brings its own")
@pytest.mark.parametrize(
    ("password", "expected", "code", "body"),
    [
        pytest.param(PASSWORD, '{"status":"ok"}', 0, '{"status":"ok"}', id="the expected body"),
        pytest.param(PASSWORD, '{"status":"no"}', 1, '{"status":"ok"}', id="another body"),
        pytest.param("wrong", '{"status":"ok"}', 1, '{"error":"not_authorised"}', id="a wrong password"),
    ],
)
def test_api_check(checks: Path, management: str, password: str, expected: str, code: int, body: str) -> None:
    done = run(["rabbitmq-api-check", management, expected], checks, RABBITMQ_PASSWORD=password)
    assert (done.returncode, done.stdout) == (code, f"{body}\n")


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed; RabbitMQ's image brings its own")
def test_api_check_fails_when_nobody_answers(checks: Path) -> None:
    done = run(["rabbitmq-api-check", "http://127.0.0.1:1", ""], checks, RABBITMQ_PASSWORD=PASSWORD)
    assert done.returncode == 1
    assert PASSWORD not in done.stderr


@pytest.mark.parametrize(
    ("wait", "tool", "variable", "arguments", "pause"),
    [
        ("wait-init-rabbitmq", "nc", "RABBITMQ_HOST", "-z -w 2 the-service 5672", 2),
        ("wait-init-gcloud-sqlproxy", "pg_isready", "PGHOST", "--timeout=3", 5),
    ],
)
def test_waits_ask_until_they_get_an_answer(
    staging: Tree, tmp_path: Path, wait: str, tool: str, variable: str, arguments: str, pause: int
) -> None:
    log = tmp_path / "log"
    # Answers at the third time of asking.
    program(
        tmp_path / "bin", tool, f'echo "${variable} $*" >> {log}; test "$(grep -c the-service {log})" = 3'
    )
    program(tmp_path / "bin", "sleep", f'echo "sleep $1" >> {log}')
    command = staging.container("Job", "migration", wait)["command"]
    done = run(command, tmp_path, **{variable: "the-service"})
    asked = f"the-service {arguments}"
    assert done.returncode == 0
    assert log.read_text().splitlines() == [asked, f"sleep {pause}", asked, f"sleep {pause}", asked]
