"""What surrounds the pods on a real node: the database behind the Cloud SQL Auth Proxy, Cloud Storage at its own name."""

import json
import os
import signal
import subprocess
from functools import partial

import psutil
import pytest

from sandbox import watching
from sandbox.cloud import sql
from tasks.lib import workspace
from tests import debian
from tests.ports import free_port
from tests.real_node import CLUSTER, TIME_LIMIT, wait_until
from tests.real_site import IN, Site
from tests.screen import Screen, shows

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600), pytest.mark.xdist_group("site")]

PROXY = "gcloud-sqlproxy"
MIGRATED = "SELECT 'größe', name FROM django_migrations WHERE app = 'studies' AND name LIKE '0001%'"
# The application's storage and requests, as its tasks use them; the second file is so large that it goes in parts.
UPLOAD = """
import requests
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import storages
for size in (10, 9 * 2**20):
    name = storages["default"].save("upload.txt", ContentFile(bytes(size)))
    answer = requests.get(f"https://storage.googleapis.com/{settings.GS_BUCKET_NAME}/media/{name}", timeout=60)
    print(answer.status_code, len(answer.content), answer.content == storages["default"].open(name).read())
"""


@pytest.fixture(scope="module", autouse=True)
def _client() -> None:
    debian.require("psql", "postgresql-client")


@pytest.fixture
def password(site: Site) -> str:
    return sql.login(site.node.state.google, "mit-lookit", "staging").password


def test_uploads_from_a_pod_are_public_at_the_real_name(site: Site) -> None:
    assert site.run_python(UPLOAD).splitlines() == ["200 10 True", f"200 {9 * 2**20} True"]


def test_a_new_proxy_takes_over_when_the_first_ends(site: Site) -> None:
    [before] = site.pods(PROXY)

    with site.asked(path="/builds/") as seen:  # each answer takes a new connection to the database
        site.kubectl("rollout", "restart", f"deployment/staging-{PROXY}")
        wait_until("the first has ended", lambda: before not in str(site.pods_of(PROXY)))
        wait_until("another is ready", partial(site.is_ready, PROXY))

    [after] = site.pods(PROXY)
    log = site.node.log(after, "default")
    assert "The proxy has started successfully and is ready for new connections!" in log
    assert all(json.loads(line)["severity"] == "INFO" for line in log.splitlines())
    assert set(seen) == {200}


def test_status_knows_the_database(site: Site) -> None:
    known = {one.name: one.problem for one in watching.status(site.node.state)}

    assert known[f"{CLUSTER}.node-cloud-sql"] == ""


def prompting(screen: Screen) -> None:
    screen.until(lambda lines: bool(lines) and lines[-1].startswith("lookit="))


def queried(site: Site, command: str, *options: str) -> "subprocess.CompletedProcess[bytes]":
    return site.apart("database.connect", "--command", command, *options)


def still_runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def below(process: int, name: str) -> list[psutil.Process]:
    """The programs called `name` that a process has started."""
    return [one for one in psutil.Process(process).children(recursive=True) if one.name() == name]


def test_psql_on_a_terminal_is_cancelled_by_ctrl_c(site: Site) -> None:
    with site.on_terminal("database.connect") as screen:
        prompting(screen)
        assert "staging: lookit as lookit, read-only: --write allows changes." in screen.whole
        screen.type("SELECT 'größe' || 6 * 7 AS größe;\r")
        screen.until(shows("größe42"))
        screen.type("DO $$ BEGIN RAISE NOTICE 'begun'; PERFORM pg_sleep(3000); END $$;\r")
        screen.until(shows("NOTICE:  begun"))
        screen.type("\x03")
        screen.until(shows("ERROR:  canceling statement due to user request"))
        screen.type("SELECT 'af' || 'ter';\r")
        screen.until(shows("after"))
        screen.type("\x04")
        assert screen.end() == 0


def test_one_command_of_sql_goes_through_pipes(site: Site) -> None:
    """It also shows that the migration's Job has reached this database."""
    done = queried(site, f"COPY ({MIGRATED}) TO STDOUT")
    wrong = queried(site, "SELECT nosuch")

    assert (done.returncode, done.stdout.decode()) == (0, "größe\t0001_initial\n"), done.stderr
    assert (wrong.returncode, wrong.stdout) == (1, b"")
    assert b'column "nosuch" does not exist' in wrong.stderr


def test_postgresql_itself_refuses_changes_without_write(site: Site) -> None:
    made = queried(site, "CREATE TABLE probe (a int); INSERT INTO probe VALUES (2)", "--write")
    refused = queried(site, "INSERT INTO probe VALUES (1)")
    removed = queried(site, "SELECT * FROM probe; DROP TABLE probe", "--write")

    assert (made.returncode, refused.returncode, removed.returncode) == (0, 1, 0), removed.stderr
    assert "staging: lookit as lookit, may WRITE." in made.stderr.decode()
    assert b"cannot execute INSERT in a read-only transaction" in refused.stderr
    assert removed.stdout.split()[2:5] == [b"2", b"(1", b"row)"]


def test_a_tunnel_is_for_any_client_of_this_machine(site: Site, password: str) -> None:
    port = free_port()
    address = f"postgresql://lookit@127.0.0.1:{port}/lookit?options=-c%20default_transaction_read_only%3Don"
    own = {**os.environ, "PGPASSWORD": password}
    with site.started("database.connect", "--port", str(port), *IN) as running:
        running.moment_of("is open on")
        running.moment_of("leaves its options out may write")
        query = ["psql", address, "-Atc", "SELECT 6 * 7; CREATE TABLE probe (a int)"]
        done = subprocess.run(query, env=own, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
        addresses = [one.laddr for one in psutil.net_connections("tcp") if one.laddr]
        listening = {one.ip for one in addresses if one.port == port}
        again = site.apart("database.connect", "--port", str(port))
        running.send(signal.SIGINT)
        assert running.end() == 130

    assert running.printed == f"{address}\n"
    assert done.stdout == "42\n"
    assert "cannot execute CREATE TABLE in a read-only transaction" in done.stderr
    assert listening == {"127.0.0.1"}
    assert (again.returncode, f"Port {port} of this machine is in use." in again.stderr.decode()) == (2, True)
    assert password not in running.said + running.printed


def test_psql_ends_with_its_tunnel(site: Site) -> None:
    with site.on_terminal("database.connect") as screen:
        prompting(screen)
        [forwarding] = below(screen.process.pid, "kubectl")
        forwarding.kill()
        assert screen.end() == 1
        screen.until(lambda lines: any("The tunnel to pod staging-gcloud-sqlproxy-" in one for one in lines))


def test_a_killed_task_leaves_no_tunnel(site: Site) -> None:
    with site.started("database.connect", "--port", str(free_port()), *IN) as running:
        running.moment_of("is open on")
        started = below(running.process.pid, "kubectl")
        running.kill()

    assert len(started) == 1
    wait_until("kubectl has ended", lambda: not any(still_runs(one) for one in started))
    assert workspace.sweep(workspace.memory_folder()), "what it left is removed by the next"


def test_the_password_is_in_no_command_line_and_no_environment(site: Site, password: str) -> None:
    with site.on_terminal("database.connect") as screen:
        prompting(screen)
        mine = psutil.Process(screen.process.pid)
        children = mine.children(recursive=True)
        seen = [" ".join(one.cmdline()) + str(one.environ()) for one in [mine, *children]]
        everywhere = [one.info["cmdline"] or [] for one in psutil.process_iter(["cmdline"])]
        screen.type("\\q\r")
        assert screen.end() == 0

    wait_until("all have ended", lambda: not any(still_runs(one) for one in children))
    assert len(seen) >= 3
    assert not any(password in one for one in [*seen, *(" ".join(argv) for argv in everywhere)])
    assert password.encode() not in screen.raw
