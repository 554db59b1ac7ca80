"""What surrounds the pods on a real node: the database behind the Cloud SQL Auth Proxy, Cloud Storage at its own name."""

import copy
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psutil
import pytest

from sandbox import watching
from sandbox.cloud import sql
from sandbox.images.site import commit_of
from tasks.lib import build_variables, workspace
from tasks.lib.render.rendering import render
from tasks.lib.secrets.crypt import decrypt_all
from tests.builders import ROOT
from tests.heard import Heard, heard
from tests.ports import free_port
from tests.real_node import CLUSTER, SPACE, Node, real_node, wait_until
from tests.screen import Screen, on_screen, shows

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800), pytest.mark.xdist_group("surroundings")]

IN = ("--environment", "staging")
KINDS = ("ConfigMap", "Secret", "ServiceAccount")
PARTS = (
    ("Service", "gcloud-sqlproxy"),
    ("Deployment", "gcloud-sqlproxy"),
    ("Job", "migration"),
    ("Job", "collectstatic"),
)
# The application's storage and requests, as its tasks use them; the second file is so large that it goes in parts.
UPLOAD = """
import django, requests
django.setup()
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import storages
for size in (10, 9 * 2**20):
    name = storages["default"].save("upload.txt", ContentFile(bytes(size)))
    answer = requests.get(f"https://storage.googleapis.com/{settings.GS_BUCKET_NAME}/media/{name}", timeout=60)
    print(answer.status_code, len(answer.content), answer.content == storages["default"].open(name).read())
"""


class Site:
    """The parts of staging, as rendered for the sandbox, that need no broker."""

    def __init__(self, node: Node) -> None:
        self.node = node
        settings = node.sandbox.overlaid({})
        staging = settings.environment("staging")
        variables = build_variables.read(settings, staging, commit=commit_of(settings), tag="")
        rendered = render(settings, staging, variables, decrypt_all(settings, staging))
        self.documents = [copy.deepcopy(dict(one.content)) for one in rendered.documents]

    def part(self, kind: str, name: str) -> dict[str, Any]:
        return next(
            one for one in self.documents
            if one["kind"] == kind and one["metadata"]["name"].removeprefix("staging-") == name
        )  # fmt: skip

    def apply(self, *documents: dict[str, Any]) -> None:
        for one in documents:
            one["metadata"].pop("namespace", None)
        listed = {"apiVersion": "v1", "kind": "List", "items": documents}
        self.node.apply(json.dumps(listed))

    def without_broker(self, job: dict[str, Any]) -> dict[str, Any]:
        spec = job["spec"]["template"]["spec"]
        spec["initContainers"] = [
            one for one in spec["initContainers"] if one["name"] != "wait-init-rabbitmq"
        ]
        return job

    def job(self, name: str, status: str) -> bool:
        found = self.node.api.get(f"/apis/batch/v1/namespaces/{SPACE}/jobs/{name}") or {}
        return bool(found.get("status", {}).get(status))

    @property
    def password(self) -> str:
        return sql.login(self.node.state.google, "mit-lookit", "staging").password

    def argv(self, task: str, *arguments: str) -> list[str]:
        """A task about this namespace, in a process of its own."""
        return [sys.executable, "-m", "tasks", task, "--sandbox", *IN, *arguments]

    @property
    def env(self) -> dict[str, str]:
        own = {
            "INVOKE_SANDBOX_STATE": str(self.node.state.folder),
            "INVOKE_ENVIRONMENTS_STAGING_NAMESPACE": SPACE,
            "TERM": "xterm-256color",
            "CI": "",
        }
        return {**os.environ, **own}

    def apart(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a task to its end on pipes."""
        return subprocess.run(
            self.argv(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=ROOT,
            env=self.env, timeout=240, check=False,
        )  # fmt: skip

    @contextmanager
    def started(self, *words: str) -> Iterator[Heard]:
        """A task on pipes while inside."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            self.argv(*words), stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT, env=self.env, text=True
        )
        with heard(process) as running:
            yield running

    @contextmanager
    def on_terminal(self, *words: str) -> Iterator[Screen]:
        """A task on a terminal while inside."""
        with on_screen(self.argv(*words), ROOT, self.env) as screen:
            yield screen

    def ended(self, name: str) -> str:
        """The log of a Job's pod once it has succeeded."""
        wait_until(f"{name} ends", partial(self.job, name, "succeeded"), 240)
        return self.node.kubectl("logs", f"job/{name}", "--all-containers")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with real_node(tmp_path_factory.mktemp("real")) as node:
        made = Site(node)
        plain = [
            one for one in made.documents
            if one["kind"] in KINDS and one.get("type") != "kubernetes.io/service-account-token"
        ]  # fmt: skip
        made.apply(*plain, *(made.part(*one) for one in PARTS[:2]))
        yield made


def test_the_proxy_is_ready_once_it_has_reached_the_instance(site: Site) -> None:
    deployment = f"/apis/apps/v1/namespaces/{SPACE}/deployments/staging-gcloud-sqlproxy"

    wait_until("it is ready", lambda: (site.node.api.get(deployment) or {})["status"].get("readyReplicas"))

    log = site.node.kubectl("logs", "deployment/staging-gcloud-sqlproxy")
    assert "The proxy has started successfully and is ready for new connections!" in log
    assert all(json.loads(line)["severity"] == "INFO" for line in log.splitlines())


def test_the_application_migrates_its_database_through_the_proxy(site: Site) -> None:
    site.apply(site.without_broker(site.part("Job", "migration")))

    assert "Applying studies.0001_initial... OK" in site.ended("staging-migration")


def test_static_files_reach_the_bucket_at_its_real_name(site: Site) -> None:
    site.apply(site.part("Job", "collectstatic"))

    site.ended("staging-collectstatic")

    port = site.node.sandbox.port("storage")
    url = f"http://127.0.0.1:{port}/storage/v1/b/lookit-staging/o/static%2Fstudies%2Fsite.css?alt=media"
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.read() == (ROOT / "sandbox/application/studies/static/studies/site.css").read_bytes()


def test_uploads_from_a_pod_are_public_at_the_real_name(site: Site) -> None:
    job = site.without_broker(copy.deepcopy(site.part("Job", "migration")))
    job["metadata"]["name"] = "upload"
    job["spec"]["template"]["spec"]["containers"][0]["command"] = ["python", "-c", UPLOAD]

    site.apply(job)

    assert site.ended("upload").splitlines()[-2:] == ["200 10 True", f"200 {9 * 2**20} True"]


def test_a_new_proxy_takes_over_when_the_first_ends(site: Site) -> None:
    site.node.kubectl("rollout", "restart", "deployment/staging-gcloud-sqlproxy")
    said = site.node.kubectl("rollout", "status", "deployment/staging-gcloud-sqlproxy", "--timeout=50s")

    assert "successfully rolled out" in said


def test_status_knows_the_database(site: Site) -> None:
    known = {one.name: one.problem for one in watching.status(site.node.state)}

    assert known[f"{CLUSTER}.node-cloud-sql"] == ""


def prompting(screen: Screen) -> None:
    screen.until(lambda lines: bool(lines) and lines[-1].startswith("lookit="))


def queried(site: Site, command: str, *options: str) -> "subprocess.CompletedProcess[str]":
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
    done = queried(site, "COPY (SELECT 'größe', 6 * 7) TO STDOUT")
    wrong = queried(site, "SELECT nosuch")

    assert (done.returncode, done.stdout) == (0, "größe\t42\n"), done.stderr
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert 'column "nosuch" does not exist' in wrong.stderr


def test_postgresql_itself_refuses_changes_without_write(site: Site) -> None:
    made = queried(site, "CREATE TABLE probe (a int)", "--write")
    refused = queried(site, "INSERT INTO probe VALUES (1)")
    allowed = queried(site, "INSERT INTO probe VALUES (2); SELECT * FROM probe", "--write")
    removed = queried(site, "DROP TABLE probe", "--write")

    assert (made.returncode, allowed.returncode, removed.returncode) == (0, 0, 0), allowed.stderr
    assert "staging: lookit as lookit, may WRITE." in allowed.stderr
    assert allowed.stdout.split()[-3:] == ["2", "(1", "row)"]
    assert refused.returncode == 1
    assert "cannot execute INSERT in a read-only transaction" in refused.stderr


def test_a_tunnel_is_for_any_client_of_this_machine(site: Site) -> None:
    port = free_port()
    address = f"postgresql://lookit@127.0.0.1:{port}/lookit?options=-c%20default_transaction_read_only%3Don"
    own = {**os.environ, "PGPASSWORD": site.password}
    with site.started("database.connect", "--port", str(port)) as running:
        running.moment_of("is open on")
        running.moment_of("leaves its options out may write")
        query = ["psql", address, "-Atc", "SELECT 6 * 7; CREATE TABLE probe (a int)"]
        done = subprocess.run(query, env=own, capture_output=True, text=True, timeout=60, check=False)
        addresses = [one.laddr for one in psutil.net_connections("tcp") if one.laddr]
        listening = {one.ip for one in addresses if one.port == port}
        again = site.apart("database.connect", "--port", str(port))
        running.send(signal.SIGINT)
        assert running.end() == 130

    assert running.printed == f"{address}\n"
    assert done.stdout == "42\n"
    assert "cannot execute CREATE TABLE in a read-only transaction" in done.stderr
    assert listening == {"127.0.0.1"}
    assert (again.returncode, f"Port {port} of this machine is in use." in again.stderr) == (2, True)
    assert site.password not in running.said + running.printed


def test_psql_ends_with_its_tunnel(site: Site) -> None:
    with site.on_terminal("database.connect") as screen:
        prompting(screen)
        [forwarding] = below(screen.process.pid, "kubectl")
        forwarding.kill()
        assert screen.end() == 1
        screen.until(lambda lines: any("The tunnel to pod staging-gcloud-sqlproxy-" in one for one in lines))


def test_a_killed_task_leaves_no_tunnel(site: Site) -> None:
    with site.started("database.connect", "--port", str(free_port())) as running:
        running.moment_of("is open on")
        started = below(running.process.pid, "kubectl")
        running.kill()

    assert len(started) == 1
    wait_until("kubectl has ended", lambda: not any(still_runs(one) for one in started))
    assert workspace.sweep(workspace.memory_folder()), "what it left is removed by the next"


def test_the_password_is_in_no_command_line_and_no_environment(site: Site) -> None:
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
    assert not any(site.password in one for one in [*seen, *(" ".join(argv) for argv in everywhere)])
    assert site.password.encode() not in screen.raw
