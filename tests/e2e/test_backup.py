"""The database's backup before a migration, against the sandbox's Cloud SQL Admin API."""

import json
from typing import Any

import pytest

from tasks.lib.sandbox.cloud import sql
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

A, B = "a" * 40, "b" * 40


def deploy(case: Case, *options: str, commit: str = A) -> Any:
    return case.invoke("deploy", "--branch", "develop", "--commit", commit, *options)


def runs(case: Case) -> list[dict[str, Any]]:
    """The backups of the case's instance, the newest first."""
    items = sql.list_runs(case.sandbox.state.google, "mit-lookit", case.name).body["items"]
    return list(items)


def releases(case: Case) -> list[dict[str, Any]]:
    done = case.invoke("release.list", "--environment", "staging", "--json")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def instance(case: Case) -> str:
    return f"mit-lookit:us-east1:{case.name}"


def test_a_backup_is_there_before_the_migration_and_the_way_back_names_it(environment: Case) -> None:
    first = deploy(environment)
    assert first.returncode == 0, first.stderr
    (run,) = runs(environment)
    said = first.stderr
    assert run["description"].startswith("lookit-orchestrator, before aaaaaaaaaaaa migrates")
    there = said.index(f"backup {run['id']} of {instance(environment)} is there")
    assert there < said.index(f"Job {environment.name}-migration: started")
    assert (releases(environment)[0]["backup"], releases(environment)[0]["database"]) == (
        run["id"], instance(environment)
    )  # fmt: skip

    assert deploy(environment).returncode == 0
    assert len(runs(environment)) == 1, "nothing migrates, so nothing is backed up"

    second = deploy(environment, commit=B)
    assert second.returncode == 0, second.stderr
    newest, _ = runs(environment)
    back = environment.invoke("release.rollback", "--environment", "staging")
    assert back.returncode == 0, back.stderr
    assert (
        "The database stays as it is: migrations are not reversed. Before release 2 migrated, "
        f"backup {newest['id']} of {instance(environment)} was taken; docs/rollback.md says how to restore it."
    ) in back.stderr
    assert len(runs(environment)) == 2


@pytest.mark.parametrize("how", ["disabled", "stopped", "quota"])
def test_a_refused_backup_ends_the_deploy_before_anything_is_changed(environment: Case, how: str) -> None:
    sql.refuse(environment.sandbox.state.google, "mit-lookit", environment.name, how)

    done = deploy(environment)

    assert done.returncode == 1
    assert "no backup was taken, and no migration was started." in done.stderr
    assert sql.REFUSALS[how][2] in done.stderr
    by_hand = f"gcloud sql backups create --instance={environment.name} --project=mit-lookit"
    assert by_hand in done.stderr
    assert "Nothing was changed in the cluster." in done.stderr
    assert environment.kubectl("get", "deployments,jobs", "-o", "name") == ""


def test_an_account_without_the_permission_is_told_which_role_it_lacks(environment: Case) -> None:
    allowed = deploy(environment, "--no-backup")
    assert allowed.returncode == 0, allowed.stderr
    assert runs(environment) == []
    name = f"{environment.name}-x"
    email = environment.sandbox.make_account(
        name, ["container.clusters.get"], ["roles/cloudkms.cryptoKeyDecrypter"]
    )
    environment.kubectl(
        "create", "clusterrolebinding", name, "--clusterrole=cluster-admin", f"--user={email}"
    )
    try:
        refused = deploy(environment.as_account(name), commit=B)
    finally:
        environment.kubectl("delete", "clusterrolebinding", name)
    assert refused.returncode == 1
    assert f"The credentials may not back {instance(environment)} up" in refused.stderr
    assert 'Required "cloudsql.backupRuns.create" permission(s)' in refused.stderr
    assert "gcloud iam roles create lookitDatabaseBackup --project=mit-lookit" in refused.stderr
    assert "--role=projects/mit-lookit/roles/lookitDatabaseBackup" in refused.stderr


def test_a_backup_that_fails_keeps_the_migration_from_starting(environment: Case) -> None:
    sql.fail(environment.sandbox.state.google, "mit-lookit", environment.name, "disk full")

    done = deploy(environment)

    assert done.returncode == 1
    assert f"of {instance(environment)} failed: no migration was started." in done.stderr
    assert "INTERNAL_ERROR: disk full" in done.stderr
    assert environment.kubectl("get", "jobs", "-o", "name") == ""
    assert "backup" not in releases(environment)[0]


def test_a_deploy_that_fails_after_its_migration_names_the_backup(environment: Case) -> None:
    environment.behave("Deployment", "web", "crash-loop")

    done = deploy(environment)

    assert done.returncode == 1
    (run,) = runs(environment)
    assert (
        f"Before its migration backup {run['id']} of {instance(environment)} was taken; "
        "docs/rollback.md says how to restore it."
    ) in done.stderr
    assert releases(environment)[0]["backup"] == run["id"]
