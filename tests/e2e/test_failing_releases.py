"""Releases that fail, or are disturbed, on a real node: the site answers meanwhile, and the next deploy works."""

import signal
from dataclasses import dataclass

import pytest

from sandbox import processes
from tests.real_node import TIME_LIMIT, wait_until
from tests.real_site import Site, deploying

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600), pytest.mark.xdist_group("site")]

MIGRATION = """
from django.db import migrations

class Migration(migrations.Migration):
    dependencies = [("studies", "0002_site")]
    operations = [migrations.RunSQL("UPDATE studies_study SET finished = now()")]
"""
# Kubernetes waits longer before each attempt: six of them take five minutes.
ONE_ATTEMPT = ("base/application/migration/job.yaml", "backoffLimit: 5", "backoffLimit: 0")
NO_SUCH_APPLICATION = (
    "base/application/worker/deployment.yaml",
    "project.celery.app, worker",
    "project.nosuch, worker",
)
WRONG_PORT = (
    "components/application/containers.patch.yaml",
    'RABBITMQ_PORT, value: "5672"',
    'RABBITMQ_PORT, value: "5673"',
)
WITH_BROKER = {"web": "uwsgi", "worker": "worker", "beat": "beat", "builder": "builder"}
BROKER = ("lookit-rabbitmq", "rabbitmq", "rabbitmqctl")
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
    message = SimpleQueue(connection, "kept").get(timeout=60)
    print("got", message.payload)
    message.ack()
"""
MAIL = """
from studies.tasks import send_mail
send_mail.delay("sent with the new password", "someone@example.org")
"""


@dataclass(frozen=True)
class Broken:
    """A release that cannot start: its image or its manifests differ, and what the deploy says of it."""

    told: tuple[str, ...]
    wsgi: str = ""  # the module of the application that web loads
    change: tuple[str, str, str] | None = None  # of the manifests: file, text, new text


BROKEN = {
    "web crashes while it starts": Broken(
        ("container uwsgi: CrashLoopBackOff", "RuntimeError: the licence has expired"),
        wsgi="raise RuntimeError('the licence has expired')\n",
    ),
    "a worker's application is missing": Broken(
        ("container worker: CrashLoopBackOff", "The module project.nosuch was not found."),
        change=NO_SUCH_APPLICATION,
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
    site.comes_to_run(before)


@pytest.mark.parametrize("row", BROKEN.values(), ids=BROKEN)
def test_a_release_that_cannot_start_is_explained_and_undone(site: Site, before: str, row: Broken) -> None:
    commit = "d" * 40 if row.wsgi else before
    if row.wsgi:
        site.give_image(commit, {"/code/project/wsgi.py": row.wsgi})
    manifests = site.changed(*row.change) if row.change else {}

    with site.asked() as seen:
        done = site.deploy(commit, **manifests)

    assert done.code == 1, done.stderr
    missing = [text for text in row.told if text not in done.stderr]
    assert not missing, done.stderr
    assert "Rolled the changed objects back to release" in done.stderr
    assert set(seen) == {200}
    site.comes_to_run(before)
    assert site.version()["dependencies"]["broker"] == "ok"


def test_a_new_password_of_the_broker_is_used_by_all(site: Site, before: str) -> None:
    old = site.run("web", "uwsgi", "printenv", "RABBITMQ_PASSWORD").strip()
    new = "another-password-of-the-broker"
    assert not site.run_python(PUT)
    stored = site.apart("secrets.set", "rabbitmq-password", stdin=new.encode())

    done = site.deploy(before)

    assert (stored.returncode, done.code) == (0, 0), done.stderr
    used = {
        one: site.run(one, main, "printenv", "RABBITMQ_PASSWORD").strip() for one, main in WITH_BROKER.items()
    }
    assert used == dict.fromkeys(WITH_BROKER, new)
    assert "Success" in site.run(*BROKER, "authenticate_user", "admin", new)
    assert "Error" in site.run(*BROKER, "authenticate_user", "admin", old)
    assert "got from before" in site.run_python(GET)
    site.run_python(MAIL)
    [worker] = site.pods("worker")
    wait_until(
        "the worker has done it",
        lambda: "sent with the new password" in site.node.log(worker, "default"),
    )
    assert site.version()["dependencies"]["broker"] == "ok"


def warnings(site: Site, name: str) -> str:
    """What the cluster has said of a workload's pods."""
    found = site.node.api.get("/api/v1/namespaces/default/events")
    assert found
    mine = [one for one in found["items"] if one["involvedObject"]["name"].startswith(f"staging-{name}-")]
    return "\n".join(one["message"] for one in mine)


def test_a_deploy_ends_in_words_on_sigterm_and_the_next_finishes(site: Site) -> None:
    """It ends while it waits for workers that cannot reach their broker, which the next gives the right port."""
    commit = "e" * 40
    site.give_image(commit)
    wrong = site.changed(*WRONG_PORT)

    with site.asked() as seen, site.started(*deploying(commit), **wrong) as deploy:
        deploy.moment_of("Unhealthy: a probe fails", TIME_LIMIT)
        wait_until("its probe says why", lambda: "Connection refused" in warnings(site, "worker"))
        deploy.send(signal.SIGTERM)
        assert deploy.end() == 143, deploy.said
        assert not holder(site)
        done = site.deploy(commit)

    assert "Deploying again continues." in deploy.said
    assert "Traceback" not in deploy.said
    assert done.code == 0, done.stderr
    assert "Waiting for" not in done.stderr
    site.comes_to_run(commit)
    assert site.version()["dependencies"]["broker"] == "ok"
    assert set(seen) == {200}


def test_a_deploy_waits_for_a_node_that_starts_again(site: Site) -> None:
    commit = "f" * 40
    site.give_image(commit)
    first = site.node.place.first_process()
    assert first

    with site.started(*deploying(commit)) as deploy:
        deploy.moment_of("Deployment staging-web: changed", TIME_LIMIT)
        processes.signal_to(first, signal.SIGKILL)
        code = deploy.end(2 * TIME_LIMIT)

    assert code == 0, deploy.said
    site.comes_to_run(commit)
