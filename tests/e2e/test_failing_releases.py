"""Releases that fail, or are disturbed, on a real node: the site answers meanwhile, and the next deploy works."""

import http.client
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from sandbox import processes
from sandbox.images.recipes import APPLICATION
from tests.builders import ROOT
from tests.real_node import wait_until
from tests.real_site import Site, deploying

pytestmark = [pytest.mark.containers, pytest.mark.timeout(2400), pytest.mark.xdist_group("site")]

MIGRATION = """
from django.db import migrations

class Migration(migrations.Migration):
    dependencies = [("studies", "0002_site")]
    operations = [migrations.RunSQL("UPDATE studies_study SET finished = now()")]
"""
CELERY = (APPLICATION / "project/celery.py").read_text()
# Kubernetes waits longer before each attempt: six of them take five minutes.
ONE_ATTEMPT = ("base/application/migration/job.yaml", "backoffLimit: 5", "backoffLimit: 0")
WRONG_PORT = (
    "components/application/containers.patch.yaml",
    'RABBITMQ_PORT, value: "5672"',
    'RABBITMQ_PORT, value: "5673"',
)
WITH_BROKER = {
    "deployment/staging-web": "uwsgi",
    "deployment/staging-worker": "worker",
    "deployment/staging-beat": "beat",
    "pod/staging-builder-0": "builder",
}
# Said after the jobs, which take a minute.
WEB_IS_CHANGED = ("Deployment staging-web: changed", 600)
BROKER = ("pod/staging-lookit-rabbitmq-0", "rabbitmq", "rabbitmqctl")
PUT = """
from kombu.simple import SimpleQueue
from project.celery import app
with app.connection_for_write() as connection:
    SimpleQueue(connection, "kept").put("from before")
"""
GET = """
from kombu.simple import SimpleQueue
from project.celery import app
with app.connection_for_read() as connection:
    message = SimpleQueue(connection, "kept").get(timeout=10)
    print("got", message.payload)
    message.ack()
"""
MAIL = """
from studies.tasks import send_mail
send_mail.delay("sent with the new password", "someone@example.org")
"""


@dataclass(frozen=True)
class Broken:
    """A release whose workloads do not become ready, and what the deploy says of it."""

    told: tuple[str, ...]
    files: Mapping[str, str | None] = field(default_factory=dict)
    change: tuple[str, str, str] | None = None  # of the manifests: file, text, new text
    limits: Mapping[str, str] = field(default_factory=dict)
    code: int = 1


BROKEN = {
    "web crashes while it starts": Broken(
        ("container uwsgi: CrashLoopBackOff", "RuntimeError: the licence has expired"),
        {"/code/project/wsgi.py": "raise RuntimeError('the licence has expired')\n"},
    ),
    "web's command is missing": Broken(
        (
            "container uwsgi: CrashLoopBackOff: the container cannot be started: wrong command or mount",
            'exec: "uwsgi": executable file not found in $PATH',
        ),
        {"/code/.venv/bin/uwsgi": None},
    ),
    "Celery cannot load its tasks": Broken(
        ("CrashLoopBackOff", "ModuleNotFoundError: No module named 'studies.mail'"),
        {"/code/project/celery.py": f"{CELERY}app.conf.imports = ['studies.mail']\n"},
    ),
    # Workers go on trying: only their start-up probe ends that, after minutes.
    "workers have the broker's port wrong": Broken(
        ("Unhealthy: a probe fails", "Startup probe failed: … ", "Connection refused"),
        change=WRONG_PORT,
        limits={"INVOKE_TIME_LIMITS_ROLLOUT": "2m"},
        code=70,
    ),
}


@pytest.fixture(autouse=True)
def before(site: Site) -> str:
    """The commit that the site runs when a test begins."""
    commit: str = site.version()["commit"]
    return commit


def commits(site: Site) -> set[str]:
    """The commits that any workload runs or has run."""
    path = "jsonpath={.items[*].spec.template.spec.containers[*].image}"
    images = site.kubectl("get", "deployments,statefulsets,replicasets", "-o", path)
    return {one.rpartition(":")[2] for one in images.split()}


def holder(site: Site) -> str:
    """Who holds the lock of deploys."""
    return site.kubectl(
        "get", "lease", "lookit-orchestrator", "--ignore-not-found", "-o", "jsonpath={.spec.holderIdentity}"
    )


def test_a_failing_migration_leaves_the_site_as_it_was(site: Site, before: str) -> None:
    commit = "c" * 40
    site.give_image(commit, {"/code/studies/migrations/0003_fails.py": MIGRATION})

    with site.asked() as seen:
        done = site.deploy(commit, **site.changed(*ONE_ATTEMPT))

    assert done.code == 1, done.stderr
    assert 'column "finished" of relation "studies_study" does not exist' in done.stderr
    assert set(seen) == {200}
    assert before in commits(site)
    assert commit not in commits(site)
    assert site.version()["commit"] == before


@pytest.mark.parametrize("row", BROKEN.values(), ids=BROKEN)
def test_a_release_that_cannot_start_is_explained_and_undone(site: Site, before: str, row: Broken) -> None:
    commit = "d" * 40
    site.give_image(commit, row.files)
    manifests = site.changed(*row.change) if row.change else {}

    with site.asked() as seen:
        done = site.deploy(commit, **manifests, **row.limits)

    assert done.code == row.code, done.stderr
    missing = [text for text in row.told if text not in done.stderr]
    assert not missing, done.stderr
    assert "Rolled the changed objects back to release" in done.stderr
    assert set(seen) == {200}
    found = site.version()
    assert found["commit"] == before
    assert found["dependencies"]["broker"] == "ok"


def test_a_new_password_of_the_broker_is_used_by_all(site: Site, before: str) -> None:
    old = site.run("deployment/staging-web", "uwsgi", "printenv", "RABBITMQ_PASSWORD").strip()
    new = "another-password-of-the-broker"
    assert not site.run_python(PUT)
    setting = [sys.executable, "-m", "tasks", "secrets.set", "rabbitmq-password", "--environment", "staging"]
    subprocess.run(setting, input=new, cwd=ROOT, env=site.env(), text=True, timeout=120, check=True)

    done = site.deploy(before)

    assert done.code == 0, done.stderr
    used = {
        one: site.run(one, main, "printenv", "RABBITMQ_PASSWORD").strip() for one, main in WITH_BROKER.items()
    }
    assert used == dict.fromkeys(WITH_BROKER, new)
    assert "Success" in site.run(*BROKER, "authenticate_user", "admin", new)
    assert "Error" in site.run(*BROKER, "authenticate_user", "admin", old)
    assert "got from before" in site.run_python(GET)
    site.run_python(MAIL)
    wait_until(
        "the worker has done it",
        lambda: "sent with the new password" in site.kubectl("logs", "deployment/staging-worker"),
    )
    assert site.version()["dependencies"]["broker"] == "ok"


def test_a_deploy_ends_in_words_on_sigterm_and_the_next_finishes(site: Site) -> None:
    commit = "e" * 40
    site.give_image(commit)

    with site.asked() as seen, site.started(*deploying(commit)) as deploy:
        deploy.moment_of(*WEB_IS_CHANGED)
        deploy.send(signal.SIGTERM)
        assert deploy.end() == 143, deploy.said
        assert "Deploying again continues." in deploy.said
        assert "Traceback" not in deploy.said
        assert not holder(site)
        done = site.deploy(commit)

    assert done.code == 0, done.stderr
    assert "Waiting for" not in done.stderr
    assert site.version()["commit"] == commit
    assert set(seen) == {200}


def test_a_deploy_waits_for_a_node_that_starts_again(site: Site) -> None:
    commit = "f" * 40
    site.give_image(commit)
    first = site.node.place.first_process()
    assert first

    with site.started(*deploying(commit)) as deploy:
        deploy.moment_of(*WEB_IS_CHANGED)
        processes.signal_to(first, signal.SIGKILL)
        code = deploy.end(1200)

    assert code == 0, deploy.said
    wait_until("the site answers", lambda: is_answered(site))
    assert site.version()["commit"] == commit
    again = site.deploy(commit)
    assert again.code == 0, again.stderr


def is_answered(site: Site) -> bool:
    try:
        return site.answer("/version/")[0] == 200
    except (OSError, http.client.HTTPException):
        return False
