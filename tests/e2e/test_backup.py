"""The database's backup before a migration, against the sandbox's Cloud SQL Admin API."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sandbox.cloud import sql
from sandbox.kms.access import DECRYPTER
from tests.deployed import backups, deploy, deployed, objects, releases
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]


def test_a_migration_starts_only_after_a_backup(environment: Case) -> None:
    google, name = environment.sandbox.state.google, environment.name
    instance = f"mit-lookit:us-east1:{name}"
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox:1.37"}]}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migration"}}
    environment.hold_only({**job, "spec": {"template": {"spec": pod}}})

    sql.refuse(google, "mit-lookit", name, "disabled")
    told = refused(environment)
    assert "no backup was taken, and no migration was started." in told
    assert sql.REFUSALS["disabled"][2] in told
    assert f"gcloud sql backups create --instance={name} --project=mit-lookit" in told
    assert "Nothing was changed in the cluster." in told
    assert set(objects(environment)) <= {"ConfigMap/kube-root-ca.crt", "ServiceAccount/default"}

    with without_the_permission(environment) as confined:
        told = refused(confined)
    assert f"The credentials may not back {instance} up" in told
    assert 'Required "cloudsql.backupRuns.create" permission(s)' in told
    assert "gcloud iam roles create lookitDatabaseBackup --project=mit-lookit" in told
    assert "--role=projects/mit-lookit/roles/lookitDatabaseBackup" in told

    sql.fail(google, "mit-lookit", name, "disk full")
    told = refused(environment)
    assert f"of {instance} failed: no migration was started." in told
    assert "INTERNAL_ERROR: disk full" in told
    assert "backup" not in releases(environment)[0]

    sql.fail(google, "mit-lookit", name, "")
    told = deployed(environment)
    run, failed = backups(environment)
    assert (run["status"], failed["status"]) == ("SUCCESSFUL", "FAILED")
    assert run["description"].startswith("lookit-orchestrator, before aaaaaaaaaaaa migrates")
    there = told.index(f"backup {run['id']} of {instance} is there")
    assert there < told.index("Job migration: started")
    newest = releases(environment)[0]
    assert (newest["backup"], newest["database"]) == (run["id"], instance)

    deployed(environment)
    assert backups(environment) == [run, failed], "nothing migrates, so nothing is backed up"
    deployed(environment, "--jobs", "--no-backup")
    assert backups(environment) == [run, failed]


def refused(case: Case) -> str:
    """Deploy; it fails before its migration starts."""
    done = deploy(case)
    assert done.code == 1, done.stderr
    assert objects(case, "jobs") == {}
    return done.stderr


@contextmanager
def without_the_permission(case: Case) -> Iterator[Case]:
    """The same corner while inside, for an account that may do everything but back the database up."""
    name = f"{case.name}-x"
    email = case.sandbox.make_account(name, ["container.clusters.get"], [DECRYPTER])
    case.kubectl("create", "clusterrolebinding", name, "--clusterrole=cluster-admin", f"--user={email}")
    try:
        yield case.as_account(name)
    finally:
        case.kubectl("delete", "clusterrolebinding", name)
