"""The database between deploys: a restore with the application stopped, through the sandbox's APIs."""

import gzip
import json
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from sandbox import bootstrap
from sandbox.cloud import sql
from sandbox.kms.access import DECRYPTER
from tasks.lib.deploy.backup import exports
from tests.deployed import backups, deployed, objects, workload
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

IN = ("--environment", "staging")
RIGHTS = ("container.clusters.get", "cloudsql.instances.get", "cloudsql.backupRuns.create",
          "cloudsql.backupRuns.list")  # fmt: skip
RESTORE = "cloudsql.instances.restoreBackup"


def of_the_application(name: str, **spec: Any) -> dict[str, Any]:
    found = workload(name, **spec)
    found["spec"]["template"]["spec"]["containers"][0]["image"] = "gcr.io/mit-lookit/lookit:1"
    return found


def ready(case: Case) -> dict[str, int]:
    found = objects(case, "deployments", "statefulsets")
    return {name: one["status"].get("readyReplicas", 0) for name, one in found.items()}


@pytest.fixture
def operator(environment: Case) -> Case:
    """A deployed application with one backup, for an account that may restore it."""
    queue = workload("queue")
    environment.hold_only(of_the_application("web", replicas=2), of_the_application("worker"), queue)
    deployed(environment)
    name = f"{environment.name}-o"
    email = environment.sandbox.make_account(name, [*RIGHTS, RESTORE], [DECRYPTER])
    environment.kubectl("create", "rolebinding", name, "--clusterrole=cluster-admin", f"--user={email}")
    case = environment.as_account(name)
    done = case.invoke("database.backup", *IN, "--description", "before the import")
    assert done.code == 0, done.stderr
    assert done.stdout.strip() == backups(case)[0]["id"]
    return case


def test_a_restore_stops_the_application_meanwhile(operator: Case) -> None:
    case, (kept,) = operator, backups(operator)
    listed = json.loads(case.invoke("database.backups", *IN, "--json").stdout)
    assert [(one["id"], one["description"]) for one in listed] == [
        (kept["id"], "lookit-orchestrator, before the import")
    ]

    done = case.invoke("database.restore", kept["id"], *IN, "--confirm", "staging")

    assert done.code == 0, done.stderr
    order = ["is lost", "==> backup of the present data", "==> stop the application",
             f"==> restore backup {kept['id']}", "==> start\n", "is restored in staging"]  # fmt: skip
    places = [done.stderr.index(words) for words in order]
    assert places == sorted(places)
    assert sql.restored(case.sandbox.state.google, "mit-lookit", case.name) == [kept["id"]]
    assert backups(case)[0]["description"] == f"lookit-orchestrator, before the restore of {kept['id']}"
    assert ready(case) == {"Deployment/web": 2, "Deployment/worker": 1, "Deployment/queue": 1}
    found = json.loads(case.invoke("release.status", *IN, "--json").stdout)
    assert found["drift"] == []
    assert "unchanged" in deployed(case)


def test_a_refused_restore_starts_the_application_again(operator: Case) -> None:
    case, (kept,) = operator, backups(operator)
    deployer = f"{case.name}-d"
    email = case.sandbox.make_account(deployer, RIGHTS, [DECRYPTER])
    case.kubectl("create", "rolebinding", deployer, "--clusterrole=cluster-admin", f"--user={email}")

    done = case.as_account(deployer).invoke("database.restore", kept["id"], *IN, "--confirm", "staging")

    assert done.code == 1
    assert f'Required "{RESTORE}" permission(s)' in done.stderr
    assert f"gcloud sql backups restore {kept['id']}" in done.stderr
    assert ready(case)["Deployment/web"] == 2


def test_after_a_failed_restore_the_application_stays_stopped(operator: Case) -> None:
    case, (kept,) = operator, backups(operator)
    sql.slow_down(case.sandbox.state.google, "mit-lookit", case.name, 600)

    with case.started("database.restore", kept["id"], *IN, "--confirm", "staging") as running:
        running.moment_of("==> restore backup")
        running.kill()

    assert ready(case) == {"Deployment/web": 0, "Deployment/worker": 0, "Deployment/queue": 1}
    told = json.loads(case.invoke("status", *IN, "--json").stdout)
    assert "./inv database.start" in json.dumps(told)
    started = case.invoke("database.start", *IN)
    assert started.code == 0, started.stderr
    assert started.stderr.endswith("Started: Deployment web, Deployment worker.\n")
    assert ready(case) == {"Deployment/web": 2, "Deployment/worker": 1, "Deployment/queue": 1}
    assert "unchanged" in deployed(case)
    assert "Nothing was stopped" in case.invoke("database.start", *IN).stderr


def test_a_deploy_starts_what_a_restore_had_stopped(operator: Case) -> None:
    case = operator
    patch = {
        "metadata": {"annotations": {"lookit-orchestrator/replicas-before-restore": "2"}},
        "spec": {"replicas": 0},
    }
    case.kubectl("patch", "deployment", "web", "--field-manager=lookit-orchestrator", "--type=merge",
                 "-p", json.dumps(patch))  # fmt: skip

    deployed(case)

    assert ready(case)["Deployment/web"] == 2


def test_a_dump_lies_in_the_private_bucket(environment: Case) -> None:
    bucket, storage = f"{environment.name}-private", environment.settings.google.storage
    name = f"{environment.name}-e"
    environment.sandbox.make_account(name, exports.PERMISSIONS, [DECRYPTER])
    case = environment.as_account(name)

    missing = case.invoke("database.export", *IN)
    assert missing.code == 1
    assert f"There is no bucket gs://{bucket}: nothing was exported" in missing.stderr
    bootstrap.create_bucket(storage, "mit-lookit", bucket)
    done = case.invoke("database.export", *IN, "--name", "before-the-import")

    assert done.code == 0, done.stderr
    folder = f"gs://{bucket}/exports/"
    assert done.stdout.startswith(f"{folder}before-the-import-")
    path = quote(done.stdout.strip().removeprefix(f"gs://{bucket}/"), safe="")
    with urlopen(f"{storage}/storage/v1/b/{bucket}/o/{path}?alt=media", timeout=30) as answer:
        assert gzip.decompress(answer.read()).startswith(b"-- A dump of lookit")
